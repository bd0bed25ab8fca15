"""What users hand to a monitor, read: numbers, counts, losses of any type."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
import torch

from probact.monitoring.signals import Array


def number(what: str, value: Any, above: float | None = None) -> float:
    """A finite one >= 0, or, with ``above=0.0``, > 0.

    :raises ValueError: if it is none.
    """
    good = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < 0 or value == above:
        raise ValueError(f"{what}: expected a number {'> 0' if above is not None else '>= 0'}, got {value!r:.60}")
    return float(value)


def count(what: str, value: Any) -> int:
    """A whole number >= 1.

    :raises ValueError: if it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{what}: expected a whole number >= 1, got {value!r:.60}")
    return value


def losses(what: str, value: Any, num: int | None) -> Array:
    """One real number, or ``num`` of them, as ``(1,)`` or ``(num,)``.

    :raises ValueError: if it is something else.
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().double().numpy() if not value.is_complex() else value
    found = np.asarray(value)
    if found.dtype.kind not in "fiu" or found.size != (num or 1) or (num is None and found.ndim > 1):
        expected = "a number" if num is None else f"{num} numbers"
        raise ValueError(f"{what}: expected {expected}, got {value!r:.60}")
    return found.reshape(-1).astype(np.float64)
