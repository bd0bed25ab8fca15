"""What halting sees of one problem, on plain numbers and on tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from probact.unrolling import progress
from probact.unrolling.progress_of_one import ProgressOfOne

LOST = [math.nan, math.inf, -math.inf, 1e300]


def told(signals: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Features of signals ``(K, 4)``, of two problems at once and of one."""
    memory, of_one = progress.init(torch.zeros(2, dtype=torch.float64)), ProgressOfOne()
    rows, same = [], []
    for row in signals:
        features, memory = progress.take_in(memory, row[:, None].expand(-1, 2))
        rows.append(features[1].numpy())
        same.append(of_one.take_in(*row.tolist()))
    return np.array(rows), np.array(same)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_told_the_same(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    signals = torch.randn(9, 4, generator=random, dtype=torch.float64)
    signals = signals * 10 ** (4 * torch.rand(9, 4, generator=random, dtype=torch.float64) - 2)
    signals[:, [1, 3]] = signals[:, [1, 3]].abs()
    signals[3] = signals[2]
    signals[5, 1:] = 0.0
    np.testing.assert_allclose(*told(signals), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("place", [0, 4])
@pytest.mark.parametrize("lost", LOST)
def test_what_is_no_number_is_told_the_same(lost: float, place: int) -> None:
    signals = torch.ones(6, 4, dtype=torch.float64)
    signals[:, 0] = torch.arange(6)
    signals[place, 0] = lost
    expected, found = told(signals)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
