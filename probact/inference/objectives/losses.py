"""Learning to learn: the losses of an unroll, without a price of steps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from probact.inference.objectives.base import OBJECTIVES, Objective, log_loss
from probact.inference.posteriors.base import HaltingPosterior
from probact.inference.priors import Prior
from probact.rules.base import SMALL, UpdateRule
from probact.support.refusals import check_range
from probact.unrolling.rollout import Rollout
from probact.unrolling.walk import DEFAULT_UNROLLING, Unrolling


@OBJECTIVES.register("sum-of-losses")
class SumOfLosses(Objective):
    """sum_t nll(theta_t) over t = 1..H: learning to learn (Andrychowicz et al. 2016, eq 3 with unit weights)."""

    adds_up = True

    def losses(self, rollout: Rollout, anneal: float = 1.0) -> Tensor:
        return rollout.nll[1:].sum(0)


@OBJECTIVES.register("log-loss")
class LogLoss(Objective):
    """mean_t log(nll(theta_t) - floor + eps) over t = 1..H: free of scale, where late steps count as early ones do."""

    adds_up = True

    def losses(self, rollout: Rollout, anneal: float = 1.0) -> Tensor:
        return log_loss(rollout)


@OBJECTIVES.register("final-loss")
class FinalLoss(Objective):
    """log of (nll(theta_H) - floor) / (nll(theta_0) - floor), eps added to the ratio: what is left in the end alone.

    Free of scale.  Problems that are solved to less than eps of what they began with are told apart no more.

    :param eps: of it.
    """

    sees_path = False

    def __init__(
        self,
        rule: UpdateRule,
        posterior: HaltingPosterior | None,
        horizon: int | Prior,
        unrolling: Unrolling = DEFAULT_UNROLLING,
        log_loss_weight: float = 0.0,
        eps: float = 1e-3,
    ) -> None:
        super().__init__(rule, posterior, horizon, unrolling, log_loss_weight)
        check_range(f"objective {self.name!r}", above=0, eps=eps)
        self.eps = eps

    def losses(self, rollout: Rollout, anneal: float = 1.0) -> Tensor:
        floor = 0.0 if rollout.optimum is None else rollout.optimum
        first, last = (rollout.nll[place] - floor for place in (0, -1))
        ratio = last / first.detach().abs().clamp_min(SMALL)
        return torch.where(ratio > 0, torch.log(ratio.clamp_min(0) + self.eps), ratio / self.eps + math.log(self.eps))
