"""What keeps the subspace rule from harm: how long a step may be, and when to go back to the best iterate."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from probact.rules.base import SMALL

LONGEST = 10.0
"""The longest step allowed, in units of the longest before it."""
RECENT = 3
"""A loss has risen if it is above the last so many that had not (Grippo, Lampariello and Lucidi 1986)."""
LOST_SHARE = 0.2
"""A problem is lost if its loss is above the first by more than this share of it."""
SHRINK = 0.1
"""What is left of the longest step where a problem was lost."""


class Trust(NamedTuple):
    """What has been seen of a problem's losses and steps; without graph.

    :ivar radius: length of the longest step so far, ``(L,)``, less ``SHRINK`` for each time that it led astray.
    :ivar to_best: theta_best - theta, ``(L, d)``.
    :ivar first, best, last: losses ``(L,)``.
    :ivar recent: the last ``RECENT`` losses that had not risen, ``(L, RECENT)``.
    :ivar num_seen: losses seen, ``(L,)``.
    :ivar is_best, risen: what the last one was, ``(L,)`` bool.
    :ivar back: the part of the way back to the best iterate that is due, ``(L,)``; 0: none, the rule's step.
    """

    radius: Tensor
    to_best: Tensor
    first: Tensor
    best: Tensor
    last: Tensor
    recent: Tensor
    num_seen: Tensor
    is_best: Tensor
    risen: Tensor
    back: Tensor

    def take_in(self, loss: Tensor, backtrack: float) -> Trust:
        """With ``loss (L,)`` at theta taken in.

        The second loss has not risen: the first step may overshoot to learn the curvature, which then leads back.

        :param backtrack: how much of the way back to go from any loss that has risen, for exact gradients; 0 to go back
            from where the problem is lost only, as noise makes losses rise.
        """
        begins = self.num_seen == 0
        count = self.num_seen + 1
        is_best = loss < self.best
        first = torch.where(begins, loss, self.first)
        risen = (loss > self.recent.max(-1).values) & (count > 1)
        pushed = torch.cat([self.recent[:, 1:], loss.unsqueeze(-1)], 1)
        recent = torch.where(begins.unsqueeze(-1), loss.unsqueeze(-1), pushed)
        astray = risen if backtrack else loss > first + LOST_SHARE * first.abs()
        back = torch.where(astray & (count > 2), backtrack or 1.0, 0.0).to(loss.dtype)
        return Trust(
            radius=self.radius if backtrack else torch.where(back > 0, SHRINK * self.radius, self.radius),
            to_best=torch.where(is_best.unsqueeze(-1), 0.0, self.to_best),
            first=first,
            best=torch.minimum(loss, self.best),
            last=loss,
            recent=torch.where(risen.unsqueeze(-1), self.recent, recent),
            num_seen=count,
            is_best=is_best,
            risen=risen & (count > 2),
            back=back,
        )

    def cap(self, step: Tensor) -> Tensor:
        """``step (L, d)``, no longer than ``LONGEST`` times the longest before it."""
        length = step.detach().norm(dim=-1)
        limit = torch.where(self.radius > 0, LONGEST * self.radius / length.clamp_min(SMALL), 1.0)
        return step * limit.clamp_max(1.0).unsqueeze(-1)

    def guard(self, step: Tensor) -> Tensor:
        """``step (L, d)``, capped, or the way back where that is due."""
        back = self.back.unsqueeze(-1)
        return torch.where(back > 0, back * self.to_best, self.cap(step))

    def moved(self, update: Tensor) -> Trust:
        """After the step ``update (L, d)``."""
        radius = torch.where(self.back > 0, self.radius, torch.maximum(self.radius, update.norm(dim=-1)))
        return self._replace(radius=radius, to_best=self.to_best - update)


def init(flat: Tensor) -> Trust:
    """Before the first loss, at parameters ``flat (L, d)``."""
    zero = flat.new_zeros(len(flat))
    no = zero > 0
    endless = zero + math.inf
    return Trust(
        radius=zero,
        to_best=torch.zeros_like(flat),
        first=endless,
        best=endless,
        last=zero,
        recent=endless.unsqueeze(-1).repeat(1, RECENT),
        num_seen=zero,
        is_best=no,
        risen=no,
        back=zero,
    )
