"""Graves' objective: expected loss and ponder cost."""

from __future__ import annotations

from torch import Tensor

from probact.inference.objectives.base import OBJECTIVES, Objective
from probact.inference.posteriors.base import POSTERIORS, HaltingPosterior
from probact.inference.priors import Prior
from probact.rules.base import UpdateRule
from probact.unrolling.rollout import Rollout
from probact.unrolling.walk import DEFAULT_UNROLLING, Unrolling


@OBJECTIVES.register("ponder-cost")
class PonderCost(Objective):
    """sum_t p_t nll(theta_t) + tau (N + R): adaptive computation time (Graves 2016, eq 10-13).

    N has no gradient: weight moved to an earlier step earns tau once, however many steps it saves.  Hence the
    sensitivity to tau that Graves reports: on ``regression``, 0.1 and often 0.25 never halt before H, 0.5 halts at
    10-15 steps and 1 at 5.

    :param ponder_cost: tau > 0, in nats.
    :raises ValueError: with a halting posterior that has no N and R.
    """

    def __init__(
        self,
        rule: UpdateRule,
        posterior: HaltingPosterior | None,
        horizon: int | Prior,
        unrolling: Unrolling = DEFAULT_UNROLLING,
        ponder_cost: float = 0.5,
        log_loss_weight: float = 0.0,
    ) -> None:
        super().__init__(rule, posterior, horizon, unrolling, log_loss_weight)
        if posterior is None or not posterior.distribution.has_ponder:
            known = ", ".join(name for name in POSTERIORS if POSTERIORS[name].has_ponder)
            got = "none" if posterior is None else posterior.distribution.name
            raise ValueError(f"objective 'ponder-cost': expected a halting posterior with N and R ({known}), got {got}")
        if not ponder_cost > 0:
            raise ValueError(f"objective 'ponder-cost': expected ponder_cost > 0, got {ponder_cost}")
        self.ponder_cost = ponder_cost

    def losses(self, rollout: Rollout, anneal: float = 1.0) -> Tensor:
        q = self.belief(rollout)
        assert q is not None
        num_steps, remainder = q.ponder()
        expected = q.expect(rollout.nll[1:])[-1]
        return expected + anneal * self.ponder_cost * (num_steps + remainder)
