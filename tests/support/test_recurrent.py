"""A gated recurrent unit block by block, against torch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from probact.support.recurrent import FEW, ROWS, gru_step


@pytest.mark.parametrize("rows", [1, FEW - 1, FEW, ROWS, ROWS + 1, 2 * ROWS + 7])
@pytest.mark.parametrize("graph", [False, True])
def test_it_is_torchs(rows: int, graph: bool) -> None:
    torch.manual_seed(rows)
    memory = nn.GRU(3, 5).double()
    inputs, hidden = torch.randn(rows, 3, dtype=torch.float64), torch.randn(rows, 5, dtype=torch.float64)
    weights = memory.all_weights[0]
    with torch.set_grad_enabled(graph):
        found = gru_step(inputs, hidden, weights)
    with torch.no_grad():
        torch.testing.assert_close(found.detach(), torch.gru_cell(inputs, hidden, *weights), rtol=1e-12, atol=1e-13)
    assert found.requires_grad is graph


def test_what_it_is_given_stays_as_it_was() -> None:
    weights = nn.GRU(2, 3).all_weights[0]
    inputs, hidden = torch.randn(FEW, 2), torch.randn(FEW, 3)
    before = inputs.clone(), hidden.clone()
    with torch.no_grad():
        gru_step(inputs, hidden, weights)
    torch.testing.assert_close((inputs, hidden), before, rtol=0, atol=0)


def test_a_row_is_the_same_beside_others() -> None:
    """A problem does not see which others are left, but for rounding."""
    weights = nn.GRU(4, 6).double().all_weights[0]
    inputs, hidden = torch.randn(3 * ROWS, 4, dtype=torch.float64), torch.randn(3 * ROWS, 6, dtype=torch.float64)
    some = torch.arange(5, 3 * ROWS, 7)
    with torch.no_grad():
        whole, part = gru_step(inputs, hidden, weights)[some], gru_step(inputs[some], hidden[some], weights)
    torch.testing.assert_close(part, whole, rtol=1e-12, atol=1e-13)
