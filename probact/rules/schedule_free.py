"""Schedule-free AdamW: an average of the path in place of a schedule."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from probact.rules.base import RULES, Planned
from probact.rules.hand_designed import HandDesigned
from probact.rules.plan import Plan
from probact.support.refusals import check_range
from probact.support.trees import Params, State, map_params, per_problem


class ScheduleFreeMemory(NamedTuple):
    """The memory of ``ScheduleFree``.

    :ivar base: z, name -> ``(L, *shape)``.
    :ivar square: v, likewise.
    :ivar made: steps made, ``(L,)`` int64.
    :ivar weight: sum of the squared rates, in units of lr^2, ``(L,)``.
    :ivar at_average: where the parameters are x and not y, ``(L,)`` bool.
    :ivar plan: what it has been told.
    """

    base: Params
    square: Params
    made: Tensor
    weight: Tensor
    at_average: Tensor
    plan: Plan


@RULES.register("schedule-free")
class ScheduleFree(Planned, HandDesigned):
    """AdamW with an average of its path in place of a schedule (Defazio et al. 2024, algorithm 1).

    Its steps go by z, its gradients are taken at y, and its result is x, the mean of the z::

        y = (1 - beta1) z + beta1 x
        v <- beta2 v + (1 - beta2) g(y)^2
        z <- z - rate (g(y) / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay y)
        x <- (1 - c) x + c z        c = rate^2 / (sum of rate^2 so far)

    The rate rises on a line to ``lr`` over the first ``warmup`` steps.  The parameters are y, as gradients are taken
    there.  Told how many steps there are, its last one goes to x, at which the authors evaluate; so do those that come
    after it.  Told nothing, it stays at y, a tenth of the way from x to z.
    """

    usual = False

    def __init__(
        self,
        lr: float = 0.1,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        warmup: int = 0,
    ) -> None:
        super().__init__(lr)
        check_range(self.label, above=0, below=1, beta1=beta1)
        check_range(self.label, at_least=0, below=1, beta2=beta2)
        check_range(self.label, above=0, eps=eps)
        check_range(self.label, at_least=0, weight_decay=weight_decay, warmup=warmup)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self.weight_decay, self.warmup = weight_decay, warmup

    def init(self, params: Params) -> State:
        first = next(iter(params.values()))
        none = first.new_zeros(len(first))
        return ScheduleFreeMemory(
            base=map_params(torch.clone, params),
            square=map_params(torch.zeros_like, params),
            made=none.long(),
            weight=none,
            at_average=none.bool(),
            plan=Plan.unknown(first),
        )

    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        count = state.made + 1
        warmth = (count / max(self.warmup, 1)).clamp_max(1.0).to(state.weight.dtype)
        weight = state.weight + warmth.square()
        share = warmth.square() / weight
        correction = (1 - self.beta2 ** count.double()).to(state.weight.dtype)
        ends = state.plan.left <= 1
        square = map_params(lambda v, g: self.beta2 * v + (1 - self.beta2) * g * g, state.square, grads)
        base, update = {}, {}
        for name, theta in params.items():
            rate, c, ended = (per_problem(one, theta) for one in (self.lr * warmth, share, state.at_average))
            z = state.base[name]
            y = torch.where(ended, z.lerp(theta, self.beta1), theta)
            scaled = grads[name] / ((square[name] / per_problem(correction, theta)).sqrt() + self.eps)
            scaled = scaled + self.weight_decay * theta
            moved = c * (z - y) - rate * (1 - self.beta1 * (1 - c)) * scaled  # of y, by what z and x do
            base[name] = z = z - rate * scaled
            x = z + (y + moved - z) / self.beta1
            update[name] = torch.where(per_problem(ends, theta), x - theta, y - theta + moved)
        memory = ScheduleFreeMemory(base, square, count, weight, ends, state.plan)
        return update, memory
