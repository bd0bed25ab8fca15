"""What the objective found on some problems, and on the validation set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from probact.inference import exact
from probact.inference.belief import infer_from
from probact.inference.objectives.base import Objective
from probact.support.ranks import Ranks
from probact.unrolling.rollout import Rollout


class Nats(NamedTuple):
    """Evidence, bound at KL scale 1, and what lies between them: means over problems, in nats; NaN without a posterior.

    :ivar amortisation_gap, horizon_gap: see ``inference.exact``.
    """

    evidence: float = math.nan
    bound: float = math.nan
    amortisation_gap: float = math.nan
    horizon_gap: float = math.nan

    @classmethod
    def mean_of(cls, objective: Objective, rollout: Rollout) -> Nats:
        """Of the problems of ``rollout``, by exact inference; all NaN if there are none."""
        if objective.posterior is None or rollout.nll.shape[1] == 0:
            return cls()
        tables = infer_from(objective, rollout).tables()
        names = ("log_evidence", "elbo", "amortisation_gap", "horizon_gap")
        return cls(*(float(tables[name].nanmean()) for name in names))

    @classmethod
    def mean(cls, several: Sequence[Nats]) -> Nats:
        return cls(*(sum(values) / len(values) for values in zip(*several, strict=True)))

    def known(self) -> dict[str, float | None]:
        """By name; None where it is no number."""
        return {name: None if math.isnan(value) else value for name, value in self._asdict().items()}


class Validation(NamedTuple):
    """The objective on the validation set.

    :ivar diverged: problems that diverged on the way.  They count as if no step were made on them: so one at the border
        neither rules out weights that are better on all others nor can be given up for nothing.
    :ivar loss: mean over all problems, in nats; inf if none has a loss to begin with.
    :ivar mean_halting: mean E[t] under q(t|x), or None without a posterior.
    :ivar nats: of those that have a loss to begin with.
    """

    diverged: int
    loss: float
    mean_halting: float | None
    nats: Nats = Nats()


class Tally(NamedTuple):
    """What the objective found on some problems.

    :ivar loss: mean over those that count; NaN if none does.
    :ivar mean_halting: the same of E[t], or None without a posterior.
    :ivar diverged: problems that are ``unsound``.
    :ivar spoilt: whether some of the problems, not all, do not count and have yet been part of the unroll.
    """

    loss: float
    mean_halting: float | None
    counted: int
    diverged: int
    spoilt: bool
    nats: Nats = Nats()


def tally(objective: Objective, loss: Tensor, rollout: Rollout, lost: Tensor, diverged: int) -> Tally:
    """Of the problems of ``rollout`` but those in ``lost (L,)``, on which ``objective`` came to ``loss``."""
    counted = int((~lost).sum())
    return Tally(
        loss=loss.item() if counted else math.nan,
        mean_halting=_mean_halting(objective, rollout.select(~lost)),
        counted=counted,
        diverged=diverged,
        spoilt=0 < counted < len(lost),
    )


def of_all_ranks(own: Tally, ranks: Ranks, device: str, weights: Sequence[Tensor] = ()) -> Tally:
    """``own`` made that of the problems of all ranks; the gradients of ``weights`` become those of its loss.

    Both are means over problems, so a rank counts with the number of its problems that do.
    A weight without gradient on any rank stays without.  (With T drawn, E[t] reaches to the largest T of a rank's
    part, so that the mean of it, a number to look at, depends a little on how the problems are parted.)

    :param device: what the exchange goes through.
    :raises ProcessLostError: if another rank is gone.
    """
    if ranks.alone:
        return own
    halting, counts = math.nan if own.mean_halting is None else own.mean_halting, own[2:5]
    grads = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
    means = torch.tensor([own.loss, halting, *own.nats], dtype=torch.float64, device=device)
    mean, (counted, diverged, spoilt, *held) = ranks.mean(
        torch.cat([means, *(grad.flatten().double() for grad in grads)]),
        own.counted,
        [*counts, *(weight.grad is not None for weight in weights)],
    )
    parts = mean[len(means) :].split([weight.numel() for weight in weights])
    for weight, holders, part in zip(weights, held, parts, strict=True):
        weight.grad = part.reshape(weight.shape).to(weight.dtype) if holders else None
    loss, halting, *nats = mean[: len(means)].tolist()
    return Tally(loss, None if math.isnan(halting) else halting, counted, diverged, spoilt > 0, Nats(*nats))


def _mean_halting(objective: Objective, rollout: Rollout) -> float | None:
    if rollout.nll.shape[1] == 0:
        return None
    with torch.no_grad():
        q = objective.belief(rollout)
        if q is None:
            return None
        prior = objective.prior.truncate(len(rollout.features))
        log_horizon = objective.log_horizon(q, prior, rollout.log_likelihood)
        return float(exact.mean_step(q.log_marginal(log_horizon)).mean())
