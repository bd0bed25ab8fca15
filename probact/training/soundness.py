"""Which problems of a batch a rule may learn from."""

from __future__ import annotations

import torch
from torch import Tensor

from probact.unrolling.rollout import Rollout

BEYOND = 1e10
"""What is beyond all bounds: of a feature this, of a loss so many times the batch's median loss at the start, or nats
if that is smaller."""


def unsound(rollout: Rollout) -> Tensor:
    """Which problems ``(L,)`` have a loss or feature on the way that is not finite or is beyond all bounds.

    One of them would be all that a mean over problems, and the clipped gradient of it, is made of.
    """
    with torch.no_grad():
        bound = BEYOND * rollout.nll[0].abs().median().clamp_min(1.0)
        losses = rollout.nll.abs().amax(0) <= bound.clamp_max(torch.finfo(bound.dtype).max)
        return ~(losses & (rollout.features.abs().amax((0, 2)) <= BEYOND))


def as_if_unmoved(rollout: Rollout, lost: Tensor) -> Rollout:
    """The problems in ``lost (L,)`` with their loss at theta_0 throughout, and without features."""
    if not bool(lost.any()):
        return rollout
    return rollout._replace(
        nll=torch.where(lost, rollout.nll[:1], rollout.nll),
        features=torch.where(lost.unsqueeze(-1), 0.0, rollout.features),
    )
