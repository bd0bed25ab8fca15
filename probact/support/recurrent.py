"""One step of a gated recurrent unit over many rows, where no gradient is wanted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ROWS = 1024
"""Rows at once: what a block works out stays near the processor."""
FEW = 512
"""So few rows that the calls of a step cost more than its numbers."""


def gru_step(inputs: Tensor, hidden: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Hidden ``(L, H)`` after ``inputs (L, I)``: ``torch.gru_cell`` to rounding (Cho et al. 2014).

    Over many rows on a CPU, and without a graph, it goes block by block, and touches less memory.

    :param weights: as of ``nn.GRU``: of the input ``(3 H, I)``, of the hidden ``(3 H, H)``, and a bias of each.
    """
    if torch.is_grad_enabled() or len(inputs) < FEW or inputs.device.type != "cpu":
        return torch.gru_cell(inputs, hidden, *weights)
    blocks = zip(inputs.split(ROWS), hidden.split(ROWS), strict=True)
    return torch.cat([_block(some, known, *weights) for some, known in blocks])


def _block(inputs: Tensor, hidden: Tensor, of_input: Tensor, of_hidden: Tensor, bias: Tensor, other: Tensor) -> Tensor:
    size = hidden.shape[1]
    seen, known = torch.addmm(bias, inputs, of_input.t()), torch.addmm(other, hidden, of_hidden.t())
    gates = seen[:, : 2 * size].add(known[:, : 2 * size]).sigmoid_()
    new = seen[:, 2 * size :].addcmul(gates[:, :size], known[:, 2 * size :]).tanh_()
    return new.lerp_(hidden, gates[:, size:])
