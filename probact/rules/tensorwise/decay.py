"""Weights that shrink as they are moved: against learning a few rows by heart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from probact.rules.matrices import is_matrix
from probact.rules.plan import Plan
from probact.rules.tensorwise.held import WILD
from probact.rules.tensorwise.memory import TensorwiseMemory, noise_of
from probact.support.arrays import Array, operations
from probact.support.light import lightly
from probact.support.room import BLOCK, Room, in_blocks

BEFORE = 2
"""Steps without: what tells exact gradients from noisy ones goes by the first two, whichever rule goes on."""
STEPS, POWER = 1000.0, 0.75
"""It is whole from so many steps in all on; of fewer ones this power of their share, as they hardly learn by heart."""
NOISE, FALL = 0.045, 6
"""It is half where the loss jitters by the first share of its fall: less is exact, or learned.  Above ``WILD`` it falls
by that power: batches so small see too few rows to learn them by heart, and their gradients hardly hold against it.
"""


def share_of(memory: TensorwiseMemory, decay: float) -> Tensor:
    """Which part of its length a step takes off, ``(L,)``; ``memory`` has the last loss in it."""
    return lightly(_share, memory.plan, memory.num_seen, memory.means, decay)


def _share(plan: Plan, count: Array, means: Array, decay: float) -> Array:
    do, noise = operations(count), noise_of(means)
    steps = do.at_most(plan.expected(count) / STEPS, 1.0)
    share = decay * steps**POWER * noise**2 / (noise**2 + NOISE**2) * (WILD / do.at_least(noise, WILD)) ** FALL
    return do.where(count > BEFORE, share, 0.0)


def shrunk(
    made: Sequence[Tensor],
    thetas: Sequence[Tensor],
    shapes: Sequence[torch.Size],
    memory: TensorwiseMemory,
    decay: float,
) -> list[Tensor]:
    """Steps ``made``, M times ``(L, d_m)``; of matrices ``share_of`` their length, in lengths of the tensor, is taken
    off the weights ``thetas`` as well.

    What never had a gradient, as a word that was not seen, stays.  As steps fall to 0, so does this: it is the
    decoupled weight decay of Loshchilov and Hutter (2019, arXiv 1711.05101, algorithm 2) with the step's own length in
    the place of the learning rate.

    :param memory: after the step, whose length it has.
    """
    shares = share_of(memory, decay).unsqueeze(-1) * memory.last_step
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
    """``shrunk`` of one problem, in place of ``made``; large tensors block by block, with ``room`` to work in."""
    shares = (share_of(memory, decay)[0] * memory.last_step[0]).tolist()
    parts = zip(made, thetas, shapes, memory.square, shares, strict=True)
    chosen = [(*part, square, share) for *part, shape, square, share in parts if share and is_matrix(shape)]
    small = [row for row in chosen if not in_blocks(row[0])]
    for step, theta, square, share in small:
        step.addcmul_(theta, square.sign(), value=-share)
    for step, theta, square, share in chosen:
        if in_blocks(step):
            for part, weight, seen in zip(*(one.flatten().split(BLOCK) for one in (step, theta, square)), strict=True):
                work = torch.sign(seen, out=room.like(("block",), part))
                part.addcmul_(weight, work, value=-share)
