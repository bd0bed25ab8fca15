"""L-BFGS on L problems at once."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor

from probact.rules.base import RULES
from probact.rules.hand_designed import HandDesigned
from probact.support.refusals import check_range
from probact.support.trees import Params, State, flatten, unflatten


class Curvature(NamedTuple):
    """The last pairs of each problem: step = theta_{t+1} - theta_t, change = g_{t+1} - g_t.

    :ivar steps, changes: ``(L, pairs, d)``, newest last.
    :ivar inverse: 1 / <step, change>, ``(L, pairs)``; 0 marks an empty place.
    :ivar scale: initial inverse Hessian <step, change> / |change|^2 of the newest pair, ``(L,)``; 0 before the first.
    """

    steps: Tensor
    changes: Tensor
    inverse: Tensor
    scale: Tensor

    @classmethod
    def init(cls, flat: Tensor, memory: int) -> Self:
        """No pairs yet, for parameters ``flat (L, d)``."""
        pairs = flat.new_zeros(len(flat), memory, flat.shape[1])
        return cls(pairs, pairs, flat.new_zeros(len(flat), memory), flat.new_zeros(len(flat)))

    def add(self, step: Tensor, change: Tensor, least: float = 1e-10) -> Curvature:
        """With the pair ``(L, d)`` in place of the oldest, for the problems where <step, change> > ``least``.

        That is in units of the loss; unless told it is the bound of ``torch.optim.LBFGS``.
        """
        curvature = (step * change).sum(-1)
        keep = curvature > least
        safe = torch.where(keep, curvature, 1.0)
        return Curvature(
            _push(self.steps, step, keep),
            _push(self.changes, change, keep),
            _push(self.inverse, 1 / safe, keep),
            torch.where(keep, safe / change.square().sum(-1).clamp_min(1e-300), self.scale),
        )

    def solve(self, grad: Tensor) -> Tensor:
        """The inverse Hessian of the pairs times g (Nocedal and Wright 2006, algorithm 7.4); 0 without pairs."""
        direction = grad
        weights = []
        for i in reversed(range(self.steps.shape[1])):
            weight = self.inverse[:, i] * (self.steps[:, i] * direction).sum(-1)
            direction = direction - weight.unsqueeze(-1) * self.changes[:, i]
            weights.append(weight)
        direction = self.scale.unsqueeze(-1) * direction
        for i, weight in enumerate(reversed(weights)):
            correction = weight - self.inverse[:, i] * (self.changes[:, i] * direction).sum(-1)
            direction = direction + correction.unsqueeze(-1) * self.steps[:, i]
        return direction


def _push(history: Tensor, newest: Tensor, keep: Tensor) -> Tensor:
    """Drop the oldest entry and append ``newest``, for the problems in ``keep (L,)``."""
    pushed = torch.cat([history[:, 1:], newest.unsqueeze(1)], 1)
    return torch.where(keep.reshape(-1, *(1,) * (history.dim() - 1)), pushed, history)


@RULES.register("lbfgs")
class LBFGS(HandDesigned):
    """L-BFGS with unit steps and no line search; ``lr`` scales the first step alone, -lr g (Nocedal 1980).

    Keeps the last ``memory`` pairs of each problem (``Curvature``).
    """

    def __init__(self, lr: float = 0.01, memory: int = 10) -> None:
        super().__init__(lr)
        check_range(self.label, at_least=1, memory=memory)
        self.memory = memory

    def init(self, params: Params) -> State:
        flat = flatten(params)
        return Curvature.init(flat, self.memory), torch.zeros_like(flat), torch.zeros_like(flat)

    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        curvature, last_update, last_grad = state
        grad = flatten(grads)
        curvature = curvature.add(last_update, grad - last_grad)
        update = torch.where((curvature.scale > 0).unsqueeze(-1), -curvature.solve(grad), -self.lr * grad)
        return unflatten(update, grads), (curvature, update, grad)

    def after_foreign_step(self, state: State, update: Params) -> State:
        curvature, _, last_grad = state
        return curvature, flatten(update), last_grad
