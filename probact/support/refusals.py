"""What a user gave, refused in one line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import OutOfMemoryError, Tensor

from probact.support.words import in_one_line

SLIP = 10**6
"""A whole number from here on is taken for a slip, where nothing else is said."""


def check_range(
    what: str, *, at_least: float = -math.inf, above: float = -math.inf, below: float | None = None, **options: float
) -> None:
    """Of ``what``, for example ``rule 'adam'``: each option has to be a finite number within the limits.

    :raises ValueError: what was expected and got.

    >>> check_range("rule 'adam'", at_least=0, below=1, beta1=0.9, beta2=1.0)
    Traceback (most recent call last):
    ValueError: rule 'adam': expected beta2 >= 0 and < 1, got 1.0
    """
    for name, value in options.items():
        beyond = below or (SLIP if isinstance(value, int) and math.isinf(above) else math.inf)
        if not (at_least <= value and above < value < beyond):
            limits = (("> ", above), (">= ", at_least), ("< ", below or (beyond if value >= beyond else math.inf)))
            said = " and ".join(f"{sign}{limit:g}" for sign, limit in limits if math.isfinite(limit))
            raise ValueError(f"{what}: expected {name} {said or 'finite'}, got {value}")


def said(value: Any) -> str:
    """What a value is, for a message."""
    if isinstance(value, Tensor):
        return f"shape {tuple(value.shape)} of {value.dtype}"
    return f"{type(value).__name__} {value!r:.60}"


def is_lack_of_memory(error: Exception) -> bool:
    """Whether more was asked for than there is; torch has a type of its own for a GPU's memory alone."""
    lacks = ("allocate memory", "enough memory", "Storage size calculation overflowed")
    return isinstance(error, MemoryError | OutOfMemoryError) or any(text in str(error) for text in lacks)


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Within, where a user's own code is called, any mistake becomes a ValueError that begins with ``what``.

    What the system refuses, a missing file or memory say, stays what it is.
    """
    try:
        yield
    except (OSError, MemoryError, OutOfMemoryError):
        raise
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(what.partition(":")[0]):
            raise
        raised = "" if isinstance(error, ValueError) else f" raised {type(error).__name__}"
        raise ValueError(f"{what}{raised}: {in_one_line(error)}") from error
