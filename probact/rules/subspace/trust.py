"""What keeps the subspace rule from harm: how long a step may be, and when to go back to the best iterate."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from probact.rules.base import SMALL

LONGEST = 10.0
"""The longest step allowed, in units of the longest before it."""
FIRST_LENGTHS, LATER_LENGTHS = 4.0, 2.0
"""The longest first step where ``first_share`` is 1, and the later ones of several tensors, in lengths of theta."""
LEAST_LENGTHS = 1e-4
"""The shortest step that harm leaves, and the first where the loss says nothing, in lengths of the parameters."""
RECENT = 3
"""A loss has risen if it is above the last so many that had not (Grippo, Lampariello and Lucidi 1986)."""
LOST_SHARE = 0.2
"""A problem is lost if its loss is above the first by more than this share of it, and more than noise explains."""
TOLERANCE, PEAK_WEIGHT = 5.0, 0.1
"""Noise is so many times the root mean square of the peaks; the weight of the newest of them."""
THERE = 2e-3
"""Share of the way back that may be left at the best iterate."""
SHRINK = 0.1
"""What is left of the longest step where it did harm."""


class Trust(NamedTuple):
    """What has been seen of a problem's losses and steps; without graph.

    :ivar radius: length of the longest step so far, ``(L,)``, less ``SHRINK`` for each time that it did harm.
    :ivar size: length of theta, ``(L,)``; of parameters that are all zero as if each were one.
    :ivar to_best: theta_best - theta, ``(L, d)``.
    :ivar first, best, last: losses ``(L,)``.
    :ivar recent: the last ``RECENT`` losses that had not risen, ``(L, RECENT)``.
    :ivar num_seen: losses seen, ``(L,)``.
    :ivar is_best, risen: what the last one was, ``(L,)`` bool.
    :ivar back: the part of the way back to the best iterate that is due, ``(L,)``; 0: none, the rule's step.
    :ivar left: what the steps back left of the way, ``(L,)``; 1 where there was none.
    :ivar rise: how far above the best the loss was from which the way leads back, ``(L,)``.
    :ivar climb, peaks: the last climb, and the running mean square of peaks: climbs that the next loss undid; ``(L,)``.
    """

    radius: Tensor
    size: Tensor
    to_best: Tensor
    first: Tensor
    best: Tensor
    last: Tensor
    recent: Tensor
    num_seen: Tensor
    is_best: Tensor
    risen: Tensor
    back: Tensor
    left: Tensor
    rise: Tensor
    climb: Tensor
    peaks: Tensor

    def take_in(self, loss: Tensor, size: Tensor, backtrack: float) -> Trust:
        """With ``loss (L,)`` at theta of length ``size (L,)`` taken in.

        The second loss has not risen: the first step may overshoot to learn the curvature, which then leads back.

        Back at the best iterate it turns out what it was.  If half of the rise is left, it was not the steps but noise
        or another task, and from here on losses are held against this one.  Else the steps did harm.

        :param backtrack: how much of the way back to go from any loss that has risen, for exact gradients; 0 to go back
            from where the problem is lost only, as noise makes losses rise.
        """
        begins = self.num_seen == 0
        count = self.num_seen + 1
        was_back = self.back > 0
        change = torch.where(begins | was_back, 0.0, loss - self.last)
        peaks = self.peaks.lerp(torch.minimum(self.climb, -change).clamp_min(0).square(), PEAK_WEIGHT)
        bar = self.first + LOST_SHARE * self.first.abs() + TOLERANCE * peaks.sqrt()
        risen = (loss > self.recent.max(-1).values) & (count > 1)
        astray = (risen if backtrack else loss > bar) & (count > 2)
        least_rise = torch.maximum(0.5 * self.rise, LOST_SHARE * self.best.abs())
        is_new = astray & (self.left < THERE) & (loss - self.best > least_rise)
        astray = astray & ~is_new
        is_best = (loss < self.best) | is_new
        did_harm = was_back & ~is_new & (not backtrack)
        least = torch.minimum(self.radius, LEAST_LENGTHS * size)
        afresh = (begins | is_new).unsqueeze(-1)
        pushed = torch.cat([self.recent[:, 1:], loss.unsqueeze(-1)], 1)
        pushed = torch.where((risen & ~is_new).unsqueeze(-1), self.recent, pushed)
        return Trust(
            radius=torch.where(did_harm, torch.maximum(SHRINK * self.radius, least), self.radius),
            size=torch.where(size > 0, size, self.to_best.shape[1] ** 0.5),
            to_best=torch.where(is_best.unsqueeze(-1), 0.0, self.to_best),
            first=torch.where(begins | is_new, loss, self.first),
            best=torch.where(is_best, loss, self.best),
            last=loss,
            recent=torch.where(afresh, loss.unsqueeze(-1), pushed),
            num_seen=count,
            is_best=is_best,
            risen=risen & ~is_new & (count > 2),
            back=torch.where(astray, backtrack or 1.0, 0.0).to(loss.dtype),
            left=torch.where(astray, self.left, 1.0).to(loss.dtype),
            rise=torch.where(was_back, self.rise, loss - self.best),
            climb=change.clamp_min(0),
            peaks=peaks,
        )

    def cap(self, step: Tensor) -> Tensor:
        """``step (L, d)``, no longer than ``LONGEST`` times the longest before it."""
        return _shorten(step, torch.where(self.radius > 0, LONGEST * self.radius, math.inf))

    def guard(self, step: Tensor, num_tensors: int, first_share: float) -> Tensor:
        """``step (L, d)``, capped, or the way back where that is due.

        The first step is no longer than ``FIRST_LENGTHS`` x ``first_share`` lengths of theta.  A loss knows several
        tensors by their products, of which a gradient tells little: of these a step is no longer than ``LATER_LENGTHS``
        either, or than the longest before it.
        """
        later = torch.maximum(LATER_LENGTHS * self.size, self.radius) if num_tensors > 1 else math.inf
        longest = torch.where(self.num_seen > 1, later, FIRST_LENGTHS * first_share * self.size)
        back = self.back.unsqueeze(-1)
        capped = _shorten(self.cap(step), longest)
        return torch.where(back > 0, back * self.to_best, capped)

    def moved(self, update: Tensor) -> Trust:
        """After the step ``update (L, d)``."""
        radius = torch.where(self.back > 0, self.radius, torch.maximum(self.radius, update.norm(dim=-1)))
        return self._replace(radius=radius, to_best=self.to_best - update, left=self.left * (1 - self.back))


def _shorten(step: Tensor, longest: Tensor) -> Tensor:
    """``step (L, d)``, no longer than ``longest (L,)``."""
    length = step.detach().norm(dim=-1)
    return step * (longest / length.clamp_min(SMALL)).clamp_max(1.0).unsqueeze(-1)


def init(flat: Tensor) -> Trust:
    """Before the first loss, at parameters ``flat (L, d)``."""
    zero = flat.new_zeros(len(flat))
    no = zero > 0
    endless = zero + math.inf
    return Trust(
        radius=zero,
        size=zero,
        to_best=torch.zeros_like(flat),
        first=endless,
        best=endless,
        last=zero,
        recent=endless.unsqueeze(-1).repeat(1, RECENT),
        num_seen=zero,
        is_best=no,
        risen=no,
        back=zero,
        left=zero + 1,
        rise=zero,
        climb=zero,
        peaks=zero,
    )
