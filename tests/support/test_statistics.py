from __future__ import annotations

import math

import numpy as np
import pytest

from probact.support.statistics import LEVELS, quantiles, rank_correlation


def test_quantiles_by_hand() -> None:
    pmf = np.array([0.05, 0.1, 0.1, 0.25, 0.2, 0.05, 0.2, 0.05])
    assert list(quantiles(pmf).items()) == [("0.05", 1), ("0.25", 3), ("0.5", 4), ("0.75", 6), ("0.95", 7)]
    assert list(map(str, LEVELS)) == list(quantiles(pmf))


def test_rank_correlation_by_hand() -> None:
    """1 - 6 sum d^2 / (n (n^2 - 1)) where there are no ties; undefined where one side is constant."""
    a, b = np.array([1, 2, 3, 4, 5]), np.array([2.0, 1.0, 30.0, 5.0, 4.0])
    assert rank_correlation(a, b) == pytest.approx(1 - 6 * (1 + 1 + 4 + 0 + 4) / (5 * 24))
    assert math.isnan(rank_correlation(a, np.ones(5)))
    assert math.isnan(rank_correlation(np.ones(5), a))
