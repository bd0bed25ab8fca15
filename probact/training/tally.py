"""What the objective found on some problems, and on the validation set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from probact.inference import exact
from probact.inference.objectives.base import Objective
from probact.support.ranks import Ranks
from probact.unrolling.rollout import Rollout


class Validation(NamedTuple):
    """The objective on the validation set; compared in this order, so that fewer diverged problems win first.

    :ivar diverged: problems that diverged and are left out of the mean.
    :ivar loss: the objective, in nats; inf if every problem diverged.
    :ivar mean_halting: mean E[t] under q(t|x), or None without a posterior.
    """

    diverged: int
    loss: float
    mean_halting: float | None


class Tally(NamedTuple):
    """What the objective found on some problems.

    :ivar loss: mean over those that did not diverge; NaN if all did.
    :ivar mean_halting: the same of E[t], or None without a posterior.
    :ivar unstarted: the diverged ones whose loss was not finite at theta_0 already.
    """

    loss: float
    mean_halting: float | None
    finite: int
    diverged: int
    unstarted: int


def tally(objective: Objective, loss: Tensor, rollout: Rollout) -> Tally:
    """Of the problems of ``rollout``, on which ``objective`` came to ``loss``."""
    diverged = int((~rollout.nll.isfinite()).any(0).sum())
    return Tally(
        loss=loss.item(),
        mean_halting=_mean_halting(objective, rollout.finite()),
        finite=rollout.nll.shape[1] - diverged,
        diverged=diverged,
        unstarted=int((~rollout.nll[0].isfinite()).sum()),
    )


def of_all_ranks(own: Tally, ranks: Ranks, device: str, weights: Sequence[Tensor] = ()) -> Tally:
    """``own`` made that of the problems of all ranks; the gradients of ``weights`` become those of its loss.

    Both are means over problems, so a rank counts with the number of its problems that did not diverge.
    A weight without gradient on any rank stays without.  (With T drawn, E[t] reaches to the largest T of a rank's
    part, so that the mean of it, a number to look at, depends a little on how the problems are parted.)

    :param device: what the exchange goes through.
    :raises ProcessLostError: if another rank is gone.
    """
    if ranks.alone:
        return own
    halting = math.nan if own.mean_halting is None else own.mean_halting
    grads = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
    means = torch.tensor([own.loss, halting], dtype=torch.float64, device=device)
    mean, (diverged, unstarted, finite, *held) = ranks.mean(
        torch.cat([means, *(grad.flatten().double() for grad in grads)]),
        own.finite,
        [own.diverged, own.unstarted, own.finite, *(weight.grad is not None for weight in weights)],
    )
    parts = mean[2:].split([weight.numel() for weight in weights])
    for weight, holders, part in zip(weights, held, parts, strict=True):
        weight.grad = part.reshape(weight.shape).to(weight.dtype) if holders else None
    loss, halting = mean[:2].tolist()
    return Tally(loss, None if math.isnan(halting) else halting, finite, diverged, unstarted)


def _mean_halting(objective: Objective, rollout: Rollout) -> float | None:
    with torch.no_grad():
        q = objective.belief(rollout)
        if q is None or q.logits.shape[1] == 0:
            return None
        prior = objective.prior.truncate(len(rollout.features))
        log_horizon = objective.log_horizon(q, prior, rollout.log_likelihood)
        return float(exact.mean_step(q.log_marginal(log_horizon)).mean())
