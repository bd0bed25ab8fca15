"""Weights that shrink as they are moved: against learning a few rows by heart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from probact.rules.matrices import is_matrix
from probact.rules.tensorwise.memory import TensorwiseMemory
from probact.support.room import Room

BEFORE = 2
"""Steps without: what tells exact gradients from noisy ones goes by the first two, whichever rule goes on."""


def shrunk(
    made: Sequence[Tensor],
    thetas: Sequence[Tensor],
    shapes: Sequence[torch.Size],
    memory: TensorwiseMemory,
    decay: float,
) -> list[Tensor]:
    """Steps ``made``, M times ``(L, d_m)``, and of matrices ``decay`` times the step's length, in lengths of the
    tensor, off their weights ``thetas``: so much of it as steps of that length alone would add.

    What never had a gradient, as a word that was not seen, stays.  As steps fall to 0, so does this: it is the
    decoupled weight decay of Loshchilov and Hutter (2019, arXiv 1711.05101, algorithm 2) with the step's own length in
    the place of the learning rate.

    :param memory: after the step, whose length it has.
    """
    shares = torch.where(memory.num_seen > BEFORE, decay, 0.0).unsqueeze(-1) * memory.last_step
    return [
        torch.addcmul(part, shares[:, k, None] * memory.square[k].sign(), theta, value=-1) if is_matrix(shape) else part
        for k, (part, theta, shape) in enumerate(zip(made, thetas, shapes, strict=True))
    ]


def shrink_(
    made: Sequence[Tensor],
    thetas: Sequence[Tensor],
    shapes: Sequence[torch.Size],
    memory: TensorwiseMemory,
    decay: float,
    room: Room,
) -> None:
    """``shrunk`` of one problem, in place of ``made``, with ``room`` to work in."""
    if float(memory.num_seen) <= BEFORE:
        return
    longest = max(memory.square, key=Tensor.numel)
    shares = (decay * memory.last_step[0]).tolist()
    for part, theta, shape, square, share in zip(made, thetas, shapes, memory.square, shares, strict=True):
        if is_matrix(shape):
            work = room.like(("work",), longest)[:, : part.shape[-1]]
            part.addcmul_(theta, torch.sign(square, out=work), value=-share)
