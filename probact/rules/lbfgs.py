"""L-BFGS on L problems at once."""

from __future__ import annotations

import torch
from torch import Tensor

from probact.optimizees.base import Params, flatten, unflatten
from probact.registry import RULES
from probact.rules.base import State
from probact.rules.handcrafted import HandDesigned


@RULES.register("lbfgs")
class LBFGS(HandDesigned):
    """L-BFGS with unit steps and no line search; ``lr`` scales the first step alone, -lr g (Nocedal 1980).

    Keeps the last ``memory`` pairs s = theta_{t+1} - theta_t, y = g_{t+1} - g_t of each problem; a pair with
    <s, y> <= 1e-10 is left out.  The initial Hessian is <s, y> / <y, y> of the newest pair.
    """

    def __init__(self, lr: float = 0.01, memory: int = 10) -> None:
        super().__init__(lr)
        if memory < 1:
            raise ValueError(f"rule 'lbfgs': expected memory >= 1, got {memory}")
        self.memory = memory

    def init(self, params: Params) -> State:
        flat = flatten(params)
        pairs = flat.new_zeros(len(flat), self.memory, flat.shape[1])
        inverse = flat.new_zeros(len(flat), self.memory)
        # steps s, gradient changes y, 1 / <s, y> (0 marks an empty place), initial Hessian, last update and gradient
        return pairs, pairs, inverse, flat.new_zeros(len(flat)), torch.zeros_like(flat), torch.zeros_like(flat)

    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        steps, changes, inverse, scale, last_update, last_grad = state
        grad = flatten(grads)
        change = grad - last_grad
        curvature = (last_update * change).sum(-1)
        keep = curvature > 1e-10
        safe = torch.where(keep, curvature, 1.0)
        steps = _push(steps, last_update, keep)
        changes = _push(changes, change, keep)
        inverse = _push(inverse, 1 / safe, keep)
        scale = torch.where(keep, safe / change.square().sum(-1).clamp_min(1e-300), scale)
        direction = _two_loop(grad, steps, changes, inverse, scale)
        update = torch.where((scale > 0).unsqueeze(-1), -direction, -self.lr * grad)
        return unflatten(update, grads), (steps, changes, inverse, scale, update, grad)


def _push(history: Tensor, newest: Tensor, keep: Tensor) -> Tensor:
    """Drop the oldest entry and append ``newest``, for the problems in ``keep (L,)``."""
    pushed = torch.cat([history[:, 1:], newest.unsqueeze(1)], 1)
    return torch.where(keep.reshape(-1, *(1,) * (history.dim() - 1)), pushed, history)


def _two_loop(grad: Tensor, steps: Tensor, changes: Tensor, inverse: Tensor, scale: Tensor) -> Tensor:
    """H g with H the inverse Hessian of the pairs (Nocedal and Wright 2006, algorithm 7.4); empty places do nothing."""
    direction = grad
    weights = []
    for i in reversed(range(steps.shape[1])):
        weight = inverse[:, i] * (steps[:, i] * direction).sum(-1)
        direction = direction - weight.unsqueeze(-1) * changes[:, i]
        weights.append(weight)
    direction = scale.unsqueeze(-1) * direction
    for i, weight in enumerate(reversed(weights)):
        correction = weight - inverse[:, i] * (changes[:, i] * direction).sum(-1)
        direction = direction + correction.unsqueeze(-1) * steps[:, i]
    return direction
