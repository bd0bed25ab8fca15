"""Learning to learn: the losses of an unroll, without a price of steps."""

from __future__ import annotations

from torch import Tensor

from probact.inference.objectives.base import OBJECTIVES, Objective, log_loss
from probact.unrolling.rollout import Rollout


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
