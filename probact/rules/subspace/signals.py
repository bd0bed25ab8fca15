"""What the subspace rule's LSTM sees besides the directions: how the last step went, in numbers without a scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from probact.rules.base import SMALL
from probact.rules.subspace.memory import DirectionMemory


class Products(NamedTuple):
    """Inner products, tensor by tensor ``(L, M)``; s is the last step, g the gradient, y its change over s.

    :ivar step_length: |s|; the others are <s, y>, <y, y>, <g, g>, and <g, g> and <g, s> of the gradient before s.
    :ivar whole_grad: <g, g> over all tensors, ``(L,)``.
    """

    step_change: Tensor
    change_change: Tensor
    step_length: Tensor
    grad_grad: Tensor
    last_last: Tensor
    last_step: Tensor
    whole_grad: Tensor

    @classmethod
    def of(cls, step: Tensor, grad: Tensor, last: Tensor, split: list[int]) -> Products:
        """From the last step and both gradients, ``(L, d)``; ``split``: coordinates of each tensor."""
        change = grad - last
        return cls(
            step_change=dots(step, change, split),
            change_change=dots(change, change, split),
            step_length=dots(step, step, split).sqrt(),
            grad_grad=dots(grad, grad, split),
            last_last=dots(last, last, split),
            last_step=dots(last, step, split),
            whole_grad=grad.square().sum(-1),
        )


class Signal(NamedTuple):
    """``formula`` of the memory before and after theta_t was taken in, clamped, in units of ``scale``."""

    name: str
    formula: Callable[[DirectionMemory, DirectionMemory, Products], Tensor]
    clamp: tuple[float, float] = (-math.inf, math.inf)
    scale: float = 1.0

    def measure(self, before: DirectionMemory, now: DirectionMemory, products: Products) -> Tensor:
        return self.formula(before, now, products).clamp(*self.clamp) / self.scale


def dots(a: Tensor, b: Tensor, split: list[int]) -> Tensor:
    """Inner products tensor by tensor, ``(L, M)``."""
    return torch.stack([part.sum(-1) for part in (a * b).split(split, 1)], 1)


def _log_ratio(a: Tensor, b: Tensor) -> Tensor:
    return torch.log((a + SMALL) / (b + SMALL))


def _log_share(a: Tensor, b: Tensor) -> Tensor:
    """Of what may be nothing beside the other: at least log 1e-6."""
    return torch.log(a / b + 1e-6)


_OF_TENSORS = (
    Signal(
        "cosine of step and change",
        lambda before, now, dot: dot.step_change / (dot.step_length.square() * dot.change_change + SMALL).sqrt(),
    ),
    Signal("growth of gradient", lambda before, now, dot: 0.5 * _log_ratio(dot.grad_grad, dot.last_last), (-5, 5), 2),
    Signal("change of rate", lambda before, now, dot: now.log_rate - before.log_rate),
    Signal(
        "rate's step beside theta",
        lambda before, now, dot: now.log_rate + 0.5 * torch.log(dot.grad_grad + SMALL) - now.sizes.log(),
        (-10, 5),
        3,
    ),
    Signal("last step beside theta", lambda before, now, dot: _log_share(dot.step_length, now.sizes), scale=3),
    Signal(
        "share of whole gradient",
        lambda before, now, dot: _log_ratio(dot.grad_grad, dot.whole_grad.unsqueeze(-1)),
        (-10, 0),
        3,
    ),
)
"""One value a tensor, ``(L, M)``."""
_OF_PROBLEMS = (
    Signal(
        "drop beside promise",
        lambda before, now, dot: (before.trust.last - now.trust.last) / (dot.last_step.sum(-1).abs() + SMALL),
        (-3, 3),
    ),
    Signal("is best", lambda before, now, dot: now.trust.is_best.to(now.mean_loss.dtype)),
    Signal("has risen", lambda before, now, dot: now.trust.risen.to(now.mean_loss.dtype)),
    Signal(
        "loss beside first",
        lambda before, now, dot: _log_share(now.trust.last.abs(), now.trust.first.abs() + SMALL),
        scale=3,
    ),
    Signal(
        "loss above mean",
        lambda before, now, dot: (now.trust.last - now.mean_loss) / (now.mean_loss.abs() + SMALL),
        (-3, 3),
    ),
    Signal("steps made", lambda before, now, dot: now.trust.num_seen.log(), scale=4),
)
"""One value a problem, ``(L,)``, the same for all its tensors."""
SIGNALS = tuple(signal.name for signal in (*_OF_TENSORS, *_OF_PROBLEMS))
NUM_SIGNALS = len(SIGNALS)


def measure(before: DirectionMemory, now: DirectionMemory, products: Products) -> Tensor:
    """All ``SIGNALS`` at theta_t, ``(L, M, 12)``; 0 before the first step."""
    values = [signal.measure(before, now, products) for signal in _OF_TENSORS]
    of_problems = (signal.measure(before, now, products) for signal in _OF_PROBLEMS)
    values += [value.unsqueeze(-1).expand_as(now.log_rate) for value in of_problems]
    return torch.where((now.trust.num_seen == 1).view(-1, 1, 1), 0.0, torch.stack(values, -1))
