"""Recurrent cells for one row, against torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from probact.support.cells import GRUOfOne, LSTMOfOne

F, H, K = 5, 4, 6


def inputs() -> torch.Tensor:
    return 3 * torch.randn(K, F, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("seed", [0, 1])
def test_an_lstm_of_one_is_torchs(seed: int) -> None:
    torch.manual_seed(seed)
    cell = nn.LSTMCell(F, H).double()
    of_one, state = LSTMOfOne(cell), (torch.zeros(1, H, dtype=torch.float64),) * 2
    hidden = memory = np.zeros(H)
    for row in inputs():
        state = cell(row[None], state)
        hidden, memory = of_one(row.numpy(), hidden, memory)
        for expected, found in zip(state, (hidden, memory), strict=True):
            np.testing.assert_allclose(found, expected[0].detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_gru_of_one_is_torchs(seed: int) -> None:
    torch.manual_seed(seed)
    memory = nn.GRU(F, H).double()
    expected, _ = memory(inputs()[:, None])
    of_one, hidden = GRUOfOne(memory), np.zeros(H)
    for row, wanted in zip(inputs(), expected[:, 0].detach(), strict=True):
        hidden = of_one(row.numpy(), hidden)
        np.testing.assert_allclose(hidden, wanted, rtol=1e-12, atol=1e-14)


def test_weights_are_those_of_when_it_was_made() -> None:
    memory = nn.GRU(F, H).double()
    of_one = GRUOfOne(memory)
    before = of_one(inputs()[0].numpy(), np.zeros(H))
    with torch.no_grad():
        memory.weight_ih_l0.zero_()
    np.testing.assert_array_equal(of_one(inputs()[0].numpy(), np.zeros(H)), before)
