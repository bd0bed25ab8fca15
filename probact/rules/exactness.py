"""Exact losses and noisy ones, told apart by what is seen: whether a loss changes as its gradients foresee."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor

from probact.rules.base import TINY

AGREES, DIFFERS, CONTRADICTS = 0.1, 0.3, 1.0
"""Of ``off``: within the first gradients agree with the loss; from the second on they do not, which a long step may
explain; above the third nothing but noise does.
"""
ENOUGH, DROP = 5.0, 3.0
"""So many agreements more than differences tell an exact loss; a contradiction takes back so many."""
VISIBLE = 1e-5
"""Changes below this share of the loss may be rounding; and of sqrt(loss first loss), as a loss that falls is made of
squares of differences between numbers that do not.
"""


def off(change: Tensor, foreseen: Tensor, against: Tensor) -> Tensor:
    """How far a ``change`` of the loss is from what gradients ``foreseen``, as a share of ``against >= 0``; ``(L,)``.

    Over a step s from theta to theta' an exact loss changes by the trapezoid <g + g', s> / 2, up to |s|^3.  That of
    another minibatch does not.
    """
    return (change - foreseen).abs() / against.clamp_min(TINY)


def is_visible(amount: Tensor, loss: Tensor, before: Tensor, first: Tensor) -> Tensor:
    """Whether ``amount >= 0`` of a loss, ``loss`` now and ``before`` and at ``first``, is no rounding; ``(L,)`` all."""
    size = torch.maximum(loss.abs(), before.abs())
    return amount > VISIBLE * torch.maximum(size, size.sqrt() * first.abs().sqrt())


class Exactness(NamedTuple):
    """What steps of any length tell of a loss; each ``(L,)``, without graph.

    With a = <g, s> and a' = <g', s> the slopes at both ends of a step, ``off`` is judged against (|a| + |a'|) / 2,
    which a step over a valley does not bring to 0 as it does a + a'.  Evidence grows by 1 where that agrees, up to
    ``ENOUGH``, where the loss is taken for exact; it falls by 1 where it differs, as long as it is not, and by ``DROP``
    where it contradicts.  At 0 the loss is taken for noisy, as it is at first.

    :ivar first: the first loss.
    :ivar slope: a, of the step that was made last.
    :ivar evidence: for an exact loss.
    :ivar is_exact: whether it is taken for one, bool.
    """

    first: Tensor
    slope: Tensor
    evidence: Tensor
    is_exact: Tensor

    @classmethod
    def init(cls, zero: Tensor) -> Self:
        """Before the first look, ``zero (L,)``."""
        return cls(zero, zero, zero, zero > 0)

    def take_in(self, loss: Tensor, before: Tensor, slope: Tensor, seen: Tensor) -> Self:
        """With the loss ``before`` a step, ``loss`` and ``slope`` a' after it, where both were ``seen (L,)`` bool."""
        size = (self.slope.abs() + slope.abs()) / 2
        share = off(loss - before, (self.slope + slope) / 2, size)
        news = torch.where(share < AGREES, 1.0, torch.where((share > DIFFERS) & ~self.is_exact, -1.0, 0.0))
        news = torch.where(share > CONTRADICTS, -DROP, news).to(loss.dtype)
        evidence = (self.evidence + news).clamp(0, ENOUGH)
        seen = seen & is_visible(torch.maximum(size, (loss - before).abs()), loss, before, self.first)
        evidence = torch.where(seen, evidence, self.evidence)
        is_exact = (self.is_exact & (evidence > 0)) | (evidence >= ENOUGH)
        return self._replace(evidence=evidence, is_exact=is_exact)
