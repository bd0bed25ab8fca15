"""``torch.compile``, where it works: what all that is compiled has in common."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import torch

BACKEND = "inductor"
MANY = 64
"""Forms in which a function may be compiled: one for each set of shapes, of every model of a process."""
failures: list[Exception] = []
"""Not empty once it has failed in this process."""


def give_up(error: Exception) -> None:
    """It does not work here, whatever is missing: a compiler, a header, an operator that it can fuse.  Says so."""
    failures.append(error)
    reason = " ".join(str(error).split())[:100]
    logging.getLogger("probact").warning("torch.compile does not work here (%s): going on without it", reason)


def compiled(function: Any) -> Any:
    """``function`` by ``torch.compile``, as one graph for each set of shapes."""
    known = inspect.signature(torch.compile).parameters
    limit: dict[str, Any] = {"recompile_limit": MANY} if "recompile_limit" in known else {}
    return torch.compile(function, fullgraph=True, dynamic=False, backend=BACKEND, **limit)
