"""Adaptive computation time as a Pyro program: which step t to halt at, under which horizon T.

::

          nu                         phi (rule, head)
          |                                |
          v                                v
    T ~ p_H(T) ---> t ~ p(t|T) ---> x ~ p(x | theta_t) <--- theta_0..theta_H   unrolled before
          :             ^
          :             : q(t | x, T), from features of steps 1..T
          :.............:                                           plate "optimizees" (L)

    site  distribution (model / guide)            shape, T and t enumerated      drawn
    T     p_H(T)      / p_H(T) or q(T|x)          (H, 1)                         (L,)
    t     p(t|T)      / q(t|x,T)                  (H, 1, 1)                      (L,)
    x     p(x|theta_t), observed / -              (H, 1, L)                      (L,)

The program is the model whatever the inference: Pyro's tools work on it (those of
``examples/pyro_user.py``).  How an ELBO sums over T and t is told by its class (``estimators``).  The bound (Sander
2017, eq 10) is  E_p(T)[ sum_t q(t|x,T) log p(x|theta_t) - KL(q(t|x,T) || p(t|T)) ].

The guide may also go the other way round (``halting_first``): t ~ q(t|x), the row T = H of q, then T ~ p(T|t).  As x
depends on t alone, the exact posterior has just this form, p(T,t|x) = p(t|x) p(T|t): the horizon gap is 0, the bound is
log p(x) - KL(q(t|x) || p(t|x)), and each hazard of q(t|x) is identified, so that halting can be followed online.
"""

from __future__ import annotations

from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from probact.inference import exact
from probact.inference.objectives.base import OBJECTIVES, Objective
from probact.inference.objectives.estimators import ESTIMATORS, PLATE, Estimator
from probact.inference.observation import Observation
from probact.inference.posteriors.base import HaltingDistribution, HaltingPosterior
from probact.inference.posteriors.conditioned import Scores
from probact.inference.priors import Prior
from probact.inference.steps import Drawn, GuideHalting, Steps
from probact.problems.base import Optimizee
from probact.rules.base import UpdateRule
from probact.unrolling.rollout import Rollout, unroll
from probact.unrolling.walk import DEFAULT_UNROLLING, Unrolling

SUMMED: Any = {"enumerate": "parallel"}
"""``infer`` of a site whose values ``TraceEnum_ELBO`` tries all."""


@OBJECTIVES.register("elbo")
class ACT(Objective):
    """-ELBO of the halting model; ``SVI(act.model, act.guide, optim, act.estimator)`` trains it.

    :param estimator: a name in ``ESTIMATORS``.
    :param kl_scale: weight > 0 of the sites T and t in model and guide; 1 makes the bound a bound.
    :param infer_horizon: let the guide hold the optimal q(T|x) ~ p(T) e^{L_T} in place of p(T): a tighter bound.
    :param halting_first: let the guide be q(t|x) p(T|t) in place of p(T) q(t|x,T): no horizon gap.
    :raises ValueError: without a halting posterior, if both of these are asked for, or one of them of an estimator that
        draws T before the unroll.
    """

    def __init__(
        self,
        rule: UpdateRule,
        posterior: HaltingPosterior | None,
        horizon: int | Prior,
        unrolling: Unrolling = DEFAULT_UNROLLING,
        estimator: str = "collapse",
        kl_scale: float = 1.0,
        infer_horizon: bool = False,
        halting_first: bool = False,
        log_loss_weight: float = 0.0,
    ) -> None:
        super().__init__(rule, posterior, horizon, unrolling, log_loss_weight)
        self.estimator: Estimator = ESTIMATORS[estimator]()
        if posterior is None:
            raise ValueError("objective 'elbo': expected a halting posterior, got none")
        if not kl_scale > 0:
            raise ValueError(f"objective 'elbo': expected kl_scale > 0, got {kl_scale}")
        if infer_horizon and halting_first:
            raise ValueError("expected infer_horizon or halting_first, got both")
        if (infer_horizon or halting_first) and self.estimator.draws_horizon:
            name = "infer_horizon" if infer_horizon else "halting_first"
            raise ValueError(f"{name} needs T enumerated: expected an estimator other than {estimator!r}")
        self.kl_scale = kl_scale
        self.infer_horizon = infer_horizon
        self.halting_first = halting_first

    def unroll(
        self, optimizee: Optimizee, generator: torch.Generator | None = None, rule: UpdateRule | None = None
    ) -> Rollout:
        """H steps; in training, where the estimator draws T for each problem, max T steps."""
        if not (self.estimator.draws_horizon and self.training):
            return super().unroll(optimizee, generator, rule)
        T = self.estimator.draw_horizon(self.prior, optimizee.num, generator)
        return unroll(rule or self.rule, optimizee, T, self.unrolling)

    def model(self, rollout: Rollout, anneal: float = 1.0) -> None:
        """p(T) p(t|T) p(x|theta_t), of the rollout's x; ``anneal`` weighs T and t beside ``kl_scale``."""
        self._register()
        with pyro.plate(PLATE, rollout.nll.shape[1], dim=-1):
            with poutine.scale(scale=self.kl_scale * anneal):
                T = pyro.sample("T", self.prior.horizon_distribution())
                t = pyro.sample("t", self.prior.halting_distribution(T, len(rollout.features)))
            x = Observation(rollout, t)
            pyro.sample("x", x, obs=x.observed)

    def guide(self, rollout: Rollout, anneal: float = 1.0) -> None:
        """p(T) or q(T|x), all its mass on the T that was drawn before the unroll if so, and q(t|x,T)."""
        self._register()
        q, num = self.q(rollout), rollout.nll.shape[1]
        with pyro.plate(PLATE, num, dim=-1), poutine.scale(scale=self.kl_scale * anneal):
            if self.halting_first:
                t = pyro.sample("t", Steps(q.log_last_row().T, validate_args=False), infer=SUMMED)
                pyro.sample("T", self.prior.horizon_given_halting(t), infer=SUMMED)
                return
            if rollout.horizon is not None:
                T = pyro.sample("T", Drawn(self.prior.log_horizon(), rollout.horizon))
            else:
                log_horizon = self.log_horizon(q, self.prior, rollout.log_likelihood, self.kl_scale * anneal)
                T = pyro.sample("T", Steps(log_horizon.T, validate_args=False), infer=SUMMED)
            pyro.sample("t", GuideHalting(q, T, len(q.logits), (num,)), infer=SUMMED)

    def losses(self, rollout: Rollout, anneal: float = 1.0) -> Tensor:
        """-ELBO of each problem by the closed form, which no estimator's draws disturb."""
        q, kl_scale, log_likelihood = self.belief(rollout), self.kl_scale * anneal, rollout.log_likelihood
        log_horizon = self.log_horizon(q, self.prior, log_likelihood, kl_scale)
        return -exact.elbo(q, self.prior, log_likelihood, kl_scale, log_horizon)

    def _register(self) -> None:
        """Name the weights that train to Pyro, which warns of others."""
        assert self.posterior is not None
        frozen = any(not weight.requires_grad for weight in self.rule.parameters())
        pyro.module("act", self.posterior if frozen else self)

    def loss(self, rollout: Rollout, anneal: float = 1.0) -> Tensor:
        """-ELBO per problem, differentiable; leaves Pyro's global parameter store alone.

        In evaluation mode it is the mean of ``losses``.
        """
        if not self.training:
            return super().loss(rollout, anneal)
        with pyro.get_param_store().scope():
            loss: Tensor = self.estimator.differentiable_loss(self.model, self.guide, rollout, anneal)
        return loss

    def log_horizon(
        self, q: HaltingDistribution, prior: Prior, log_likelihood: Tensor, kl_scale: float | None = None
    ) -> Tensor:
        """The guide's log q(T|x), ``(T, L)``: the optimal one with ``infer_horizon``, else by default the prior's."""
        if self.halting_first:
            assert isinstance(q, Scores)
            return exact.horizon_after_halting(q, prior)
        if not self.infer_horizon:
            return super().log_horizon(q, prior, log_likelihood)
        kl_scale = kl_scale or self.kl_scale
        bound = exact.elbo_given_horizon(q, prior, log_likelihood, kl_scale)
        return exact.optimal_horizon(prior, bound, kl_scale)

    def belief(self, rollout: Rollout) -> HaltingDistribution:
        """q(t | x, T)."""
        q = self.q(rollout)
        return exact.halting_first(q, self.prior.truncate(len(rollout.features))) if self.halting_first else q

    def q(self, rollout: Rollout) -> HaltingDistribution:
        """What the head says."""
        assert self.posterior is not None
        q: HaltingDistribution = self.posterior(rollout.features)
        return q
