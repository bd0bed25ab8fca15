"""Running means of ``tensorwise`` kept in bfloat16, and worked on in the parameters' own type."""

from __future__ import annotations

import torch
from torch import Tensor

from probact.rules.tensorwise.memory import TensorwiseMemory

TURN = 0.6180339887498949
"""Of the golden ratio: multiples of it, without their whole parts, are spread evenly over 0 .. 1."""
BELOW = 2**16
"""So many steps of single precision are one of bfloat16."""


def lengthened(memory: TensorwiseMemory, like: Tensor) -> TensorwiseMemory:
    """With its running means in the type of ``like``."""
    fast, slow, square = (tuple(part.to(like) for part in parts) for parts in (memory.fast, memory.slow, memory.square))
    return memory._replace(fast=fast, slow=slow, square=square)


def shortened(memory: TensorwiseMemory) -> TensorwiseMemory:
    """With its running means in bfloat16, rounded so that what is too small for a digit adds up over the steps.

    A number is rounded up in so many of the steps as its share of the way to the next one is: what is cut off has
    something added before, from step to step another share of a digit, evenly from none to all.
    """
    turns = memory.num_seen.double().unsqueeze(-1) * TURN
    means = []
    for k, parts in enumerate((memory.fast, memory.slow, memory.square)):
        added = ((turns + k / 3).frac() * BELOW).to(torch.int32)
        means.append(tuple(_cut(part, added) for part in parts))
    fast, slow, square = means
    return memory._replace(fast=fast, slow=slow, square=square)


def _cut(part: Tensor, added: Tensor) -> Tensor:
    """``part (L, d_m)`` with ``added (L, 1)`` below the last digit of bfloat16, cut off there."""
    bits = part.float().view(torch.int32) + added
    return bits.bitwise_and_(-BELOW).view(torch.float32).bfloat16()
