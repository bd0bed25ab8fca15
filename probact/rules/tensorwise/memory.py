"""What ``tensorwise`` remembers, and how it takes gradients in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from probact.rules.base import TINY
from probact.rules.plan import Plan
from probact.rules.tensorwise.held import FIRST, WILD, Held
from probact.support.arrays import Array, operations
from probact.support.light import lightly

FAST, SLOW, SQUARE = 0.9, 0.98, 0.99
"""Decays of the running means of the gradient, and of its square."""
Tensors = tuple[Tensor, ...]


class TensorwiseMemory(NamedTuple):
    """What the rule remembers of M tensors with d coordinates in all: 3 numbers a coordinate.

    :ivar fast, slow, square: running means of g and g^2, M times ``(L, d_m)``.
    :ivar first_size, size, last_step, grad_size: of each tensor, ``(L, M)``: its first root mean square and the last,
        that of the last step over it, and the running mean of log |g|.
    :ivar drift: how far, in nats, the rates of each tensor have drifted, ``(L, M)``; it alone is in the graph.
    :ivar means: fast and slow running mean of the loss, its jitter about them, and the first loss, ``(L, 4)``.
    :ivar num_seen: gradients seen, ``(L,)``.
    :ivar unit: of gradients, ``(L,)``; 0 before the first that is not 0, below 0 where they have left it far behind.
    :ivar plan: what it has been told.
    :ivar held: from the last look; () where each step has one.
    """

    fast: Tensors
    slow: Tensors
    square: Tensors
    first_size: Tensor
    size: Tensor
    last_step: Tensor
    grad_size: Tensor
    drift: Tensor
    means: Tensor
    num_seen: Tensor
    unit: Tensor
    plan: Plan
    held: Held | tuple[()] = ()

    @classmethod
    def init(cls, tensors: Sequence[Tensor]) -> TensorwiseMemory:
        """Before the first gradient of ``tensors``, M times ``(L, d_m)``."""
        fast, slow, square = (tuple(torch.zeros_like(tensor) for tensor in tensors) for _ in range(3))
        of_problem = tensors[0].new_zeros(len(tensors[0]))
        of_tensor = of_problem.new_zeros(len(of_problem), len(tensors))
        means = of_problem.new_zeros(len(of_problem), 4)
        return cls(
            *(fast, slow, square),
            *(of_tensor, of_tensor, of_tensor, of_tensor, of_tensor),
            *(means, of_problem, of_problem),
            plan=Plan.unknown(of_problem),
        )

    def with_gradients(self, grads: Sequence[Tensor]) -> TensorwiseMemory:
        """With gradients, M times ``(L, d_m)``, in its running means."""
        return self._replace(
            fast=tuple(mean.lerp(grad, 1 - FAST) for mean, grad in zip(self.fast, grads, strict=True)),
            slow=tuple(mean.lerp(grad, 1 - SLOW) for mean, grad in zip(self.slow, grads, strict=True)),
            square=tuple(mean.lerp(grad.square(), 1 - SQUARE) for mean, grad in zip(self.square, grads, strict=True)),
            num_seen=self.num_seen + 1,
        )

    @property
    def at_look(self) -> Held:
        """``held``, of one that holds anything."""
        assert isinstance(self.held, Held)
        return self.held

    @property
    def noise(self) -> Tensor:
        """How much the loss jitters, as a share of its fall and that, ``(L,)``; 0 of a first one."""
        return lightly(noise_of, self.means)

    def biases(self) -> Biases:
        fast, slow, square = (1 - decay**self.num_seen for decay in (FAST, SLOW, SQUARE))
        return Biases(fast, slow, square.sqrt())


def noise_of(means: Array) -> Array:
    """``TensorwiseMemory.noise`` from its ``means``."""
    fast, _, jitter, first = operations(means).columns(means)
    return jitter / (abs(first - fast) + jitter + TINY)


def looks_at(num_seen: Array, means: Array, hold: int) -> Array:
    """Whether the next steps, after ``num_seen (L,)`` and with such ``means`` of the loss, have a look, bool."""
    count = num_seen + 1
    return (count <= FIRST) | (count % hold == 0) | (noise_of(means) > WILD)


def overwrite(memory: TensorwiseMemory, grads: list[Tensor]) -> None:
    """The running means of ``memory.with_gradients(grads)``, in place of those that it has."""
    torch._foreach_lerp_(memory.fast, grads, 1 - FAST)
    torch._foreach_lerp_(memory.slow, grads, 1 - SLOW)
    torch._foreach_mul_(memory.square, SQUARE)
    torch._foreach_addcmul_(memory.square, grads, grads, 1 - SQUARE)


class Biases(NamedTuple):
    """What running means are too small by, as they begin at 0; ``(L,)`` each.

    :ivar fast, slow: of g; :ivar root: of the root of that of g^2.
    """

    fast: Tensor
    slow: Tensor
    root: Tensor
