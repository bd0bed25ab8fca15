"""Gradients of ``tensorwise`` in a unit of their own: squares of those far below 1e-19 or above 1e19 are no numbers of
single precision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from probact.rules.tensorwise.memory import TensorwiseMemory
from probact.support.trees import per_problem, some

USUAL, FAR = 16.0, 24.0
"""Gradients within so many powers of two of 1 stay as they are; and where they have drifted beyond so many from their
unit they get another.  By the root mean square of the tensor where that is largest.
"""


def in_unit(memory: TensorwiseMemory, grads: list[Tensor]) -> tuple[TensorwiseMemory, list[Tensor]]:
    """``grads``, M times ``(L, d_m)``, over their unit, a power of two, and the memory in it, which has a new one where
    there was none or it was left far behind.
    """
    if not some(memory.unit != 1):
        return memory, grads
    with torch.no_grad():
        if some(memory.unit <= 0):
            memory = _with_unit(memory, _unit(memory, grads))
    divisor = torch.where(memory.unit == 0, 1.0, memory.unit.abs())
    if some(divisor != 1):
        grads = [grad / divisor.unsqueeze(-1) for grad in grads]
    return memory, grads


def unless_far(memory: TensorwiseMemory) -> Tensor:
    """The unit ``(L,)``, below 0 where the gradients taken in are far from it."""
    is_far = memory.grad_size.amax(-1).abs() > FAR * math.log(2)
    return torch.where(is_far, -memory.unit.abs(), memory.unit)


def _unit(memory: TensorwiseMemory, grads: Sequence[Tensor]) -> Tensor:
    """A power of two near ``grads``, 1 near 1, ``(L,)``; that which there is where they are 0 or it is near."""
    size = torch.stack([_root_mean_square(grad.detach()) for grad in grads if grad.numel()], -1).amax(-1)
    exponent = torch.frexp(size).exponent.to(size.dtype)
    near = torch.exp2(torch.where(exponent.abs() <= USUAL, 0.0, exponent))
    return torch.where((memory.unit > 0) | (size == 0), memory.unit, near)


def _root_mean_square(part: Tensor) -> Tensor:
    """Of ``part (L, d_m)``, however large or small."""
    largest = part.abs().amax(-1)
    scale = torch.where(largest > 0, largest, 1.0)
    return scale * (part / scale.unsqueeze(-1)).square().mean(-1).sqrt()


def _with_unit(memory: TensorwiseMemory, unit: Tensor) -> TensorwiseMemory:
    """The memory with all that has the unit of gradients in another one."""
    times = torch.where((memory.unit == 0) | (unit == 0), 1.0, memory.unit.abs() / unit.abs())
    if not some(times != 1):
        return memory._replace(unit=unit)
    fast, slow = (tuple(part * times.unsqueeze(-1) for part in parts) for parts in (memory.fast, memory.slow))
    square = tuple(part * times.unsqueeze(-1) * times.unsqueeze(-1) for part in memory.square)
    held = memory.held
    if held != ():
        held = memory.at_look._replace(rows=tuple(part / per_problem(times, part) for part in memory.at_look.rows))
    grad_size = memory.grad_size + times.log().unsqueeze(-1)
    return memory._replace(fast=fast, slow=slow, square=square, held=held, grad_size=grad_size, unit=unit)
