"""What halting sees of x: the loss on x itself at theta_0, theta_1, ..., look by look, in prices of a look.

A price is the unit of every loss here.  So a factor on losses and price changes nothing, and the head sees how high the
price is by what the losses are in it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

DECAYS = (0.7, 0.9)
"""Of the running means of falls: over some 3 and some 10 looks."""
NUM_FEATURES = 9 + 3 * len(DECAYS)
LARGEST = 1e15
"""Prices beyond which a loss says no more: its square is a number still."""


class Looks(NamedTuple):
    """How x is looked at.

    :ivar price: c, what a look costs, in nats.
    :ivar recall: whether stopping at t returns the best look up to t, from theta_0 on.
    """

    price: float
    recall: bool = False


class LookMemory(NamedTuple):
    """What is remembered of the looks before, losses in prices: each ``(L,)``, ``mean`` and ``square (L, 2)``.

    :ivar num: how many there were.
    :ivar since: how many since the best.
    :ivar mean, square: running means of the falls and of their squares, one of each of ``DECAYS``.
    """

    num: Tensor
    first: Tensor
    last: Tensor
    best: Tensor
    worst: Tensor
    since: Tensor
    mean: Tensor
    square: Tensor


def init(like: Tensor) -> LookMemory:
    """Memory before the first look; ``like (L,)``."""
    zero = torch.zeros_like(like)
    none = zero.unsqueeze(-1).expand(-1, len(DECAYS))
    return LookMemory(zero, zero, zero, zero, zero, zero, none, none)


def take_in(memory: LookMemory, nll: Tensor, price: float) -> tuple[Tensor, LookMemory]:
    """Features ``(L, 15)`` of a look at ``nll (L,)``, and the memory with it.

    In this order: the loss; its fall, what it gains on the best before, the fall from the first to the best, the rise
    from the first to the worst; log of the looks, log of those since the best and their share; whether this is the
    best; mean fall, spread of the falls and their ratio over each of ``DECAYS``.  Losses are in prices, squashed.  A
    loss that is not finite is a look that brought nothing: it counts as the worst before it.
    """
    with torch.no_grad():
        begins = memory.num == 0
        value = torch.where(nll.isfinite(), (nll / price).clamp(-LARGEST, LARGEST), memory.worst)
        first, last, best, worst = (torch.where(begins, value, old) for old in memory[1:5])
        fall, gain, num = last - value, best - value, memory.num + 1
        best, worst = torch.minimum(best, value), torch.maximum(worst, value)
        since = torch.where(begins | (gain > 0), 0.0, memory.since + 1)
        decays = nll.new_tensor(DECAYS)
        weight = torch.maximum(1 / memory.num.clamp_min(1).unsqueeze(-1), 1 - decays)
        mean, square = (
            old.lerp(power.unsqueeze(-1).expand_as(old), weight)
            for old, power in ((memory.mean, fall), (memory.square, fall.square()))
        )
        spread = (square - mean.square()).clamp_min(0).sqrt()
        losses = torch.stack([value, fall, gain, first - best, worst - first], -1)
        plain = torch.stack([num.log() / 3, since.log1p() / 2, since / num, (since == 0).to(nll)], -1)
        ratio = (mean / (spread + 1e-3 * mean.abs() + 1e-6)).clamp(-8, 8) / 4
        features = torch.cat([_squashed(losses), plain, _squashed(mean), _squashed(spread), ratio], -1)
        return features, LookMemory(num, first, value, best, worst, since, mean, square)


def of_unroll(nll: Tensor, price: float) -> Tensor:
    """The same for a whole unroll, ``(K, L)`` from theta_0 on -> ``(K, L, 15)``."""
    memory, rows = init(nll[0].detach()), []
    for row in nll.detach():
        features, memory = take_in(memory, row, price)
        rows.append(features)
    return torch.stack(rows)


def _squashed(prices: Tensor) -> Tensor:
    """Linear well below a price, logarithmic above."""
    return prices.sign() * (4 * prices.abs()).log1p() / 3
