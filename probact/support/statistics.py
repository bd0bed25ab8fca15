"""Statistics that several rooms report."""

from __future__ import annotations

import math

import numpy as np

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the quantiles that tables show."""


def quantiles(pmf: np.ndarray) -> dict[str, int]:
    """Of a distribution ``(steps,)`` over 1, 2, ...: level -> the first step by which that mass is reached."""
    cdf = np.cumsum(pmf)
    return {str(level): 1 + int((cdf >= level * (1 - 1e-9)).argmax()) for level in LEVELS}


def standard_error(values: np.ndarray) -> float:
    """Of the mean of ``values (n,)``; NaN for one."""
    return float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else math.nan


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, of ``a (n,)`` and ``b (n,)``; NaN where one of them is constant."""
    from scipy.stats import spearmanr

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(spearmanr(a, b).statistic)
