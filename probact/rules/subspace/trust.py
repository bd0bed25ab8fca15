"""What keeps the subspace rule from harm: how long a step may be, and when to go back to the best iterate."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from probact.rules.base import SMALL

LONGEST = 10.0
"""The longest step allowed, in units of the longest before it; at first of ``first_share`` lengths of theta."""
LENGTHS = 0.5
"""The longest step allowed of several tensors, in lengths of theta."""
LEAST_LENGTHS = 1e-4
"""The shortest step that harm leaves, and the first where the loss is 0, in lengths of theta."""
EXPLAINED = 4.0
"""Near the best iterate a loss is above it by less than so many times what the gradient says, if that has no noise."""
RECENT = 3
"""A loss has risen if it is above the last so many that had not (Grippo, Lampariello and Lucidi 1986)."""
LOST_SHARE, LOST_FALLS = 0.2, 2.0
"""A loss is high if it is above the first by more than this share of it, or by so many times the fall to the best."""
SHRINK = 0.1
"""What is left of the longest step where a problem was lost."""


class Trust(NamedTuple):
    """What has been seen of a problem's losses and steps; without graph.

    :ivar radius: length of the longest step so far, ``(L,)``, less ``SHRINK`` for each time that it led astray.
    :ivar size: length of theta, ``(L,)``; of parameters that are all zero as if each were one.
    :ivar to_best: theta_best - theta, ``(L, d)``.
    :ivar first, best, last: losses ``(L,)``; first is the largest one at the start and after ways back.
    :ivar recent: the last ``RECENT`` losses that had not risen, ``(L, RECENT)``.
    :ivar num_seen: losses seen, ``(L,)``.
    :ivar is_best, risen, is_high: what the last one was, ``(L,)`` bool.
    :ivar back: the part of the way back to the best iterate that is due, ``(L,)``; 0: none, the rule's step.
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
    is_high: Tensor
    back: Tensor

    def take_in(self, loss: Tensor, grad: Tensor, size: Tensor, first_share: float, backtrack: float) -> Trust:
        """With ``loss (L,)`` and ``grad (L, d)`` at theta of length ``size (L,)`` taken in.

        The second loss has not risen: the first step may overshoot to learn the curvature, which then leads back.

        A problem is lost if its loss is high twice in a row.  Back at the best iterate it turns out why: if the loss is
        high there too, the steps did not do it but noise or another task, and it goes on from there.  So it does, with
        ``backtrack``, where a loss on the way back is above the best by more than its gradient explains: a convex f has
        f(theta) - f(theta*) <= <g, theta - theta*>.

        :param backtrack: how much of the way back to go from any loss that has risen, for exact gradients; 0 to go back
            from where the problem is lost only, as noise makes losses rise.
        """
        begins = self.num_seen == 0
        count = self.num_seen + 1
        size = torch.where(size > 0, size, self.to_best.shape[1] ** 0.5)
        returned = (self.back > 0) & (self.to_best.norm(dim=-1) <= LEAST_LENGTHS * size)
        margin = torch.minimum(LOST_SHARE * self.first.abs(), LOST_FALLS * (self.first - self.best))
        is_high = (loss > self.first + margin) & (count > RECENT)
        explained = EXPLAINED * (grad * self.to_best).sum(-1).abs()
        is_new = returned & is_high | (self.back > 0) & (backtrack > 0) & (loss > self.best + explained)
        risen = (loss > self.recent.max(-1).values) & (count > 1)
        pushed = torch.cat([self.recent[:, 1:], loss.unsqueeze(-1)], 1)
        recent = torch.where(risen.unsqueeze(-1), self.recent, pushed)
        astray = (risen if backtrack else is_high & self.is_high) & ~is_new
        shorter = torch.maximum(SHRINK * self.radius, torch.minimum(self.radius, LEAST_LENGTHS * size))
        radius = torch.where(returned & ~is_high & (not backtrack), shorter, self.radius)
        first = torch.where(returned, torch.maximum(loss, self.first), self.first)
        is_best = (loss < self.best) | is_new
        return Trust(
            radius=torch.where(begins, first_share * size, radius),
            size=size,
            to_best=torch.where(is_best.unsqueeze(-1), 0.0, self.to_best),
            first=torch.where(begins, loss, first),
            best=torch.where(is_best, loss, self.best),
            last=loss,
            recent=torch.where((begins | is_new).unsqueeze(-1), loss.unsqueeze(-1), recent),
            num_seen=count,
            is_best=is_best,
            risen=risen & (count > 2),
            is_high=is_high & ~is_new,
            back=torch.where(astray & (count > 2), backtrack or 1.0, 0.0).to(loss.dtype),
        )

    def cap(self, step: Tensor) -> Tensor:
        """``step (L, d)``, no longer than ``LONGEST`` times the longest before it."""
        return _shorten(step, LONGEST * self.radius)

    def guard(self, step: Tensor, num_tensors: int) -> Tensor:
        """``step (L, d)``, capped, or the way back where that is due.

        A loss knows several tensors by their products, of which a gradient tells little: see ``LENGTHS``.
        """
        capped = self.cap(step)
        if num_tensors > 1:
            capped = _shorten(capped, LENGTHS * self.size)
        back = self.back.unsqueeze(-1)
        return torch.where(back > 0, back * self.to_best, capped)

    def moved(self, update: Tensor) -> Trust:
        """After the step ``update (L, d)``."""
        length = update.norm(dim=-1)
        longest = torch.where(self.num_seen > 1, torch.maximum(self.radius, length), length)
        return self._replace(radius=torch.where(self.back > 0, self.radius, longest), to_best=self.to_best - update)


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
        is_high=no,
        back=zero,
    )
