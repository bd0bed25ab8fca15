"""``torch.compile``, where it works: what all that is compiled has in common."""

from __future__ import annotations

import logging

BACKEND = "inductor"
failures: list[Exception] = []
"""Not empty once it has failed in this process."""


def give_up(error: Exception) -> None:
    """It does not work here, whatever is missing: a compiler, a header, an operator that it can fuse.  Says so."""
    failures.append(error)
    reason = " ".join(str(error).split())[:100]
    logging.getLogger("probact").warning("torch.compile does not work here (%s): going on without it", reason)
