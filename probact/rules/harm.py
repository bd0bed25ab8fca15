"""Whether a loss that has risen is harm that the steps did, or noise, or another task."""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import torch
from torch import Tensor

from probact.rules.base import STAND_IN_LOSS

MEAN_WEIGHT, FALL_WEIGHT = 0.1, 0.1
"""Weight of the newest loss in the running mean, and of the newest fall in the variance."""
TOLERANCE, ALARM = 5.0, 10.0
"""How far above the best a loss may be, and how much more in sum gives alarm, in standard deviations of the losses."""
WARM_UP = 4
"""Looks before the losses' spread is known."""


class Losses(NamedTuple):
    """What has been seen of a problem's losses, each ``(L,)``, without graph, and what that says of the last one.

    With f_t the loss at theta_t, for each problem apart::

        variance_t = running mean of max(0, f_{t-1} - f_t)^2, but for the falls that a way back made
        best = min of max(f, running mean of f) over the steps 0..t
        f_t is high if it is not finite, or if f_t > best + 5 sqrt(variance_t) + rounding, from the fifth look on

        high for the first time:            look again before it counts
        high again:                         lost: go back to the best iterate
        there, high no more:                it was the steps: harm
        there, half of the rise or more:    it was not the steps: another task, best <- f_t
        there, high but less than that:     lost still: rounding from afar, or a task between

    Of losses that are drawn alike, half of the mean square of their differences is the variance, and falls are half of
    it: no form of noise is taken for harm by its first losses' sign or size, and a divergence, which has no falls, does
    not widen its own tolerance.

    :ivar best, mean, last, variance: as above; best is infinite before the first look.
    :ivar num_seen: finite losses seen.
    :ivar rise: how far above the best the last look was; infinite where it was not finite.
    :ivar is_best, is_doubtful, is_lost, is_harm, is_new: what the last look was, bool: the best, high for the first
        time, lost, and at the best iterate the two verdicts.
    """

    best: Tensor
    mean: Tensor
    last: Tensor
    variance: Tensor
    num_seen: Tensor
    rise: Tensor
    excess: Tensor
    is_best: Tensor
    is_doubtful: Tensor
    is_lost: Tensor
    is_harm: Tensor
    is_new: Tensor

    @classmethod
    def init(cls, like: Tensor) -> Self:
        """Before the first look, for problems ``like (L,)``."""
        zero = torch.zeros_like(like)
        no = zero > 0
        return cls(zero + math.inf, zero, zero, zero, zero, zero, zero, no, no, no, no, no)

    @property
    def is_high(self) -> Tensor:
        """Whether the last look was, ``(L,)`` bool."""
        return self.is_doubtful | self.is_lost

    def take_in(self, loss: Tensor) -> Losses:
        """With ``loss (L,)`` taken in; what stands for one that is not finite counts as not finite."""
        finite = loss.isfinite() & (loss < STAND_IN_LOSS)
        loss = torch.where(finite, loss, self.last)
        begins = self.num_seen == 0
        fall = (self.last - loss).clamp_min(0)
        variance = self.variance.lerp(fall.square(), (1 / self.num_seen).clamp(FALL_WEIGHT, 1.0))
        variance = torch.where(begins | self.is_lost | ~finite, self.variance, variance)
        rise = torch.where(finite, loss - self.best, math.inf)
        rounding = 16 * torch.finfo(loss.dtype).eps * loss.abs()
        spread = variance.sqrt() + rounding
        excess = torch.where(self.num_seen < WARM_UP, -math.inf, rise - TOLERANCE * spread)
        sum_of_excess = (self.excess + excess).clamp_min(0)
        was_high = self.is_doubtful | self.is_lost
        is_high = ((excess > 0) & (was_high | (sum_of_excess > ALARM * spread))) | ~finite
        is_new = self.is_lost & is_high & finite & (rise > 0.5 * self.rise)
        is_lost = is_high & ~is_new & was_high
        mean = self.mean.lerp(loss, (1 / (self.num_seen + 1)).clamp_min(MEAN_WEIGHT))
        mean = torch.where(begins | is_new, loss, torch.where(is_lost, self.best, torch.where(is_high, self.mean, mean)))
        score = torch.maximum(loss, mean)
        is_best = finite & ((score < self.best) | is_new)
        return Losses(
            best=torch.where(is_best, score, self.best),
            mean=mean,
            last=loss,
            variance=variance,
            num_seen=self.num_seen + finite,
            rise=rise,
            excess=torch.where(is_high | was_high, 0.0, sum_of_excess),
            is_best=is_best,
            is_doubtful=is_high & ~is_new & ~is_lost,
            is_lost=is_lost,
            is_harm=self.is_lost & ~is_high & ~begins,
            is_new=is_new,
        )
