"""Learning to search: losses of black-box optimizers, without a price of steps."""

from __future__ import annotations

import torch
from torch import Tensor

from probact.inference.objectives.base import OBJECTIVES, Objective
from probact.problems.black_box import BlackBox
from probact.rules.surrogate import JITTER, expected_improvement
from probact.unrolling.rollout import Rollout


@OBJECTIVES.register("anytime")
class Anytime(Objective):
    """mean_t b_t + b_H over t = 1..H, b_t the lowest nll up to t: early queries count, and so does the end."""

    def losses(self, rollout: Rollout, anneal: float = 1.0) -> Tensor:
        best = rollout.nll[1:].cummin(0).values
        return best.mean(0) + best[-1]


@OBJECTIVES.register("observed-improvement")
class ObservedImprovement(Objective):
    """sum_t min(nll_t - min_{i<t} nll_i, 0) over queries t = 2..H (L_OI of Chen et al. 2017): it telescopes.

    So it is what the end gains on the first query, and teaches nothing of those between.
    """

    def losses(self, rollout: Rollout, anneal: float = 1.0) -> Tensor:
        best = rollout.nll[1:].cummin(0).values
        return best.diff(dim=0).sum(0)


@OBJECTIVES.register("expected-improvement")
class ExpectedImprovement(Objective):
    """-sum_t EI(x_t | y_1..y_{t-1}) over queries t = 2..H under the functions' own process (L_EI of Chen et al. 2017).

    In expectation it is ``observed-improvement``, whose smoother twin it is; that itself stands in where the queries
    or their covariance are not known: of unrolls that are recomputed, of functions of no Gaussian process.
    """

    def losses(self, rollout: Rollout, anneal: float = 1.0) -> Tensor:
        asked, problems = rollout.asked, rollout.optimizee
        covariance = problems.covariance(asked.queries) if asked and isinstance(problems, BlackBox) else None
        if asked is None or covariance is None:
            return rollout.nll[1:].cummin(0).values.diff(dim=0).sum(0)
        assert isinstance(problems, BlackBox)
        gains = expected_gains(covariance.double(), asked.values.T.double()).sum(1)
        return -problems.in_nats(gains.to(rollout.nll))


def expected_gains(covariance: Tensor, y: Tensor) -> Tensor:
    """EI(x_t | y_1..y_{t-1}) for t = 2..K, ``(L, K - 1)``, from ``covariance (L, K, K)`` and ``y (L, K)``.

    With C the Cholesky factor and w = C^-1 y, y_t given those before is N(sum_{j<t} C_tj w_j, C_tt^2).
    """
    eye = torch.eye(y.shape[1], dtype=y.dtype, device=y.device)
    factor = torch.linalg.cholesky(covariance + JITTER * eye)
    w = torch.linalg.solve_triangular(factor, y.unsqueeze(-1), upper=False)
    sd = factor.diagonal(dim1=-2, dim2=-1)
    mean = (factor @ w).squeeze(-1) - sd * w.squeeze(-1)
    best = y.cummin(1).values
    return expected_improvement(mean[:, 1:], sd[:, 1:], best[:, :-1])
