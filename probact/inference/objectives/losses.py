"""Learning to learn: the losses of an unroll, without a price of steps."""

from __future__ import annotations

from torch import Tensor

from probact.inference.objectives.base import OBJECTIVES, Objective, log_above, log_loss
from probact.rules.base import SMALL
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


SOLVED = 1e-3
"""eps of ``FinalLoss``, a share of the loss at theta_0."""


@OBJECTIVES.register("final-loss")
class FinalLoss(Objective):
    """log((nll(theta_H) - floor) / (nll(theta_0) - floor) + eps): what is left in the end alone, free of scale.

    Problems that are solved to less than eps = ``SOLVED`` of what they began with are told apart no more.
    """

    sees_path = False

    def losses(self, rollout: Rollout, anneal: float = 1.0) -> Tensor:
        first, last = rollout.above_optimum[[0, -1]]
        return log_above(last / first.detach().abs().clamp_min(SMALL), SOLVED)
