"""What users hand to a monitor, read: numbers, counts, losses of any type."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from probact.monitoring.signals import Array

LARGEST = 1e100
"""A loss that is larger is none: it counts as not finite."""
SMALLEST = 1e-100
MOST = 2**53


def number(what: str, value: Any, above: float | None = None) -> float:
    """One >= 0 and at most ``LARGEST``, or, with ``above=0.0``, at least ``SMALLEST``.

    :raises ValueError: if it is none.
    """
    real: Any = value if isinstance(value, Real) and not isinstance(value, bool) else None
    least = 0.0 if above is None else SMALLEST
    if real is None or not least <= real <= LARGEST:
        expected = "a number >= 0" if above is None else "a number > 0"
        if real is not None and real > 0:
            expected += f", from {SMALLEST:g} to {LARGEST:g}"
        raise ValueError(f"{what}: expected {expected}, got {value!r:.60}")
    return float(value)


def count(what: str, value: Any) -> int:
    """A whole number >= 1 that a float holds, of any type.

    :raises ValueError: if it is none.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or not 1 <= int(value) < MOST:
        too_large = isinstance(value, Integral) and int(value) >= MOST
        expected = "a whole number below 2^53" if too_large else "a whole number >= 1"
        raise ValueError(f"{what}: expected {expected}, got {value!r:.60}")
    return int(value)


def losses(what: str, value: Any, num: int | None) -> Array:
    """One real number, or ``num`` of them, as ``(1,)`` or ``(num,)``; inf for what is beyond ``LARGEST``.

    :raises ValueError: if it is something else.
    """
    expected = "a number" if num is None else f"{num} numbers"
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().double().numpy() if not value.is_complex() else value
    try:
        found = np.asarray(value)
    except ValueError:  # rows of several lengths
        found = np.array(None)
    if found.dtype.kind not in "fiu" or found.size != (num or 1) or (num is None and found.ndim > 1):
        raise ValueError(f"{what}: expected {expected}, got {value!r:.60}")
    flat = found.reshape(-1).astype(np.float64)
    return np.where(np.abs(flat) > LARGEST, np.inf, flat)


def errors(what: str, value: Any, num: int | None) -> Array:
    """Standard errors, as ``losses``; 0 for NaN, which says that one is not known.

    :raises ValueError: if one is below 0 or not finite.
    """
    found = losses(what, value, num)
    if (found < 0).any() or np.isinf(found).any():
        raise ValueError(f"{what}: expected numbers >= 0, or NaN where it is not known, got {value!r:.60}")
    return np.nan_to_num(found)
