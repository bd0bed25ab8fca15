"""Prodigy: Adam that estimates its own rate."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from probact.rules.base import RULES, Planned
from probact.rules.hand_designed import HandDesigned
from probact.rules.plan import Plan
from probact.support.refusals import check_range
from probact.support.trees import Params, State, flatten, unflatten


class ProdigyMemory(NamedTuple):
    """The memory of ``Prodigy``; d in all is the number of coordinates.

    :ivar first, square: running means of d g and of (d g)^2, ``(L, d)``.
    :ivar start: theta_0, ``(L, d)``.
    :ivar total: s / d0, the weighted sum of the gradients, ``(L, d)``; :ivar along: r / d0, ``(L,)``.
    :ivar distance: d, the estimate of |theta_0 - theta_*|, in all coordinates alike, ``(L,)``.
    :ivar made: steps made, ``(L,)`` int64; :ivar plan: what it has been told.
    """

    first: Tensor
    square: Tensor
    start: Tensor
    total: Tensor
    along: Tensor
    distance: Tensor
    made: Tensor
    plan: Plan


@RULES.register("prodigy")
class Prodigy(Planned, HandDesigned):
    """Adam with a rate that grows with how far it has come (Mishchenko and Defazio 2023, Adam version).

    With theta_0 where it began::

        r <- sqrt(beta2) r + (1 - sqrt(beta2)) rate d^2 <g, theta_0 - theta>
        s <- sqrt(beta2) s + (1 - sqrt(beta2)) rate d^2 g
        m <- beta1 m + (1 - beta1) d g        v <- beta2 v + (1 - beta2) (d g)^2
        d' = max(d, growth r / |s|_1)         theta <- theta - rate d (m / (sqrt(v) + d' eps) + weight_decay theta)

    The rate is ``lr`` times Adam's correction of the bias, sqrt(1 - beta2^t) / (1 - beta1^t), times ``Plan.cosine``
    where it is told how many steps there are, as its authors advise.  ``growth`` is what their package calls
    ``d_coef``; like that, it adds eps of the new d.  The factor 1 - sqrt(beta2) of r and s is left out, as it falls out
    of their ratio.
    """

    usual = False
    learning_rates = tuple(float(f"{m}e{e}") for e in (-2, -1, 0, 1) for m in (1, 1.5, 2, 3, 4, 5, 7))

    def __init__(
        self,
        lr: float = 1.0,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        d0: float = 1e-6,
        growth: float = 1.0,
    ) -> None:
        super().__init__(lr)
        check_range(self.label, at_least=0, below=1, beta1=beta1, beta2=beta2)
        check_range(self.label, above=0, eps=eps, d0=d0, growth=growth)
        check_range(self.label, at_least=0, weight_decay=weight_decay)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self.weight_decay, self.d0, self.growth = weight_decay, d0, growth

    def init(self, params: Params) -> State:
        flat = flatten(params)
        zero, none = torch.zeros_like(flat), flat.new_zeros(len(flat))
        return ProdigyMemory(
            first=zero,
            square=zero,
            start=flat.clone(),
            total=zero,
            along=none,
            distance=none + self.d0,
            made=none.long(),
            plan=Plan.unknown(flat),
        )

    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        grad, flat, d = flatten(grads), flatten(params), state.distance
        count = state.made + 1
        bias = ((1 - self.beta2 ** count.double()).sqrt() / (1 - self.beta1 ** count.double())).to(d.dtype)
        length = d * self.lr * bias * state.plan.cosine
        beta3, weight = math.sqrt(self.beta2), d / self.d0 * length
        along = beta3 * state.along + weight * (grad * (state.start - flat)).sum(-1)
        total = beta3 * state.total + weight.unsqueeze(-1) * grad
        scaled = d.unsqueeze(-1) * grad
        first = self.beta1 * state.first + (1 - self.beta1) * scaled
        square = self.beta2 * state.square + (1 - self.beta2) * scaled.square()
        size = total.abs().sum(-1)
        found = torch.where(size > 0, self.growth * along / size.where(size > 0, torch.ones_like(size)), 0.0)
        further = torch.maximum(d, found)
        root = square.sqrt() + (further * self.eps).unsqueeze(-1)
        update = -length.unsqueeze(-1) * (first / root + self.weight_decay * flat)
        memory = ProdigyMemory(first, square, state.start, total, along, further, count, state.plan)
        return unflatten(update, params), memory
