"""What a trained optimizer believes about halting on some problems: exact tables, and draws."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from probact.inference import exact
from probact.inference.objectives.base import Objective
from probact.inference.posteriors.base import HaltingDistribution
from probact.inference.priors import Prior
from probact.inference.steps import Steps
from probact.problems.base import Optimizee
from probact.unrolling.rollout import Rollout, returned

TABLE_ENTRIES = 2**24
"""Entries of the largest table (T, L, t) that is held at once."""


WORTHLESS = 1e30
"""What a loss counts as once a problem has diverged, so that sums over steps stay numbers."""


class Inference(NamedTuple):
    """A rollout of H steps with its prior and, where there is one, its guide; draws come from here.

    Of a problem that diverged the steps from there on have no mass in the exact posterior, which is the prior if there
    are no others; its bound, evidence and gaps are NaN.
    """

    rollout: Rollout
    prior: Prior
    q: HaltingDistribution | None
    log_horizon: Tensor
    """log q(T|x), ``(T, L)``."""
    kl_scale: float = 1.0
    """kappa that q was trained at.  The best q there is ~ p(t) p(x|t)^(1 / kappa): the exact posterior, tempered."""

    halting_first: bool = False
    """Whether the guide is q(t|x) p(T|t): then the bound is log p(x) - KL(q(t|x) || p(t|x)), without a horizon gap."""

    def tables(self) -> dict[str, Tensor]:
        """The exact tables, named as in ``posterior.nc``."""
        log_likelihood = _finite_log_likelihood(self.rollout)
        evidence = exact.log_evidence(self.prior, log_likelihood)
        exact_pmf = exact.log_posterior(self.prior, log_likelihood).exp().T
        exact_horizon = exact.log_horizon_posterior(self.prior, log_likelihood).exp().T
        if self.q is None:
            # Without a guide the exact posterior stands in its place, and there is no bound.
            halt_pmf, horizon_pmf = exact_pmf, exact_horizon
            unknown = torch.full_like(evidence, torch.nan)
            gaps = exact.Gaps(unknown, evidence, unknown, unknown)
        else:
            halt_pmf, horizon_pmf = self.q.log_marginal(self.log_horizon).exp().T, self.log_horizon.exp().T
            gaps = exact.gaps(self.q, self.prior, log_likelihood, self.log_horizon)
        finite = self.rollout.nll.isfinite().all(0)
        gaps = exact.Gaps(*(torch.where(finite, values, torch.nan) for values in gaps))
        tempered = log_likelihood / self.kl_scale
        of_tempered = gaps
        if self.q is not None and self.kl_scale != 1:
            of_tempered = exact.gaps(self.q, self.prior, tempered, self.log_horizon)
        tempered_gap = of_tempered.amortisation
        if self.halting_first:  # all that q(t|x) p(T|t) can miss is in q(t|x)
            tempered_gap = tempered_gap + of_tempered.horizon
            gaps = gaps._replace(amortisation=gaps.amortisation + gaps.horizon, horizon=0 * gaps.horizon)
        if self.kl_scale != 1:
            tempered_gap = torch.where(finite, self.kl_scale * tempered_gap, torch.nan)
        return {
            "halt_pmf": halt_pmf,
            "exact_pmf": exact_pmf,
            "horizon_pmf": horizon_pmf,
            "exact_horizon_pmf": exact_horizon,
            "loss_path": self.rollout.nll[1:].T,
            "initial_loss": self.rollout.nll[0],
            "elbo": gaps.elbo,
            "log_evidence": gaps.log_evidence,
            "amortisation_gap": gaps.amortisation,
            "horizon_gap": gaps.horizon,
            "tempered_pmf": exact.log_posterior(self.prior, tempered).exp().T,
            "tempered_horizon_pmf": exact.log_horizon_posterior(self.prior, tempered).exp().T,
            "tempered_gap": tempered_gap,
        }

    def draw(self, num_draws: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """(T, t) from the guide (the exact posterior without one), each ``(num_draws, L)`` int64."""
        T = Steps(self.log_horizon.T).draw((num_draws,), random)
        some = max(1, TABLE_ENTRIES // len(self.log_horizon) ** 2)
        parts = [
            draw_halting(self._log_halting(problems), T[:, problems], random)
            for problems in torch.arange(T.shape[1]).split(some)
        ]
        return T, torch.cat(parts, 1)

    def _log_halting(self, problems: Tensor) -> Tensor:
        """log q(t|x,T) of some problems (the exact posterior without a guide), ``(T, L, t)``."""
        if self.q is None:
            log_likelihood = _finite_log_likelihood(self.rollout)[:, problems]
            return exact.log_posterior_given_horizon(self.prior, log_likelihood)
        return type(self.q)(self.q.logits[:, problems]).log_prob()


def _finite_log_likelihood(rollout: Rollout) -> Tensor:
    """log p(x|t), ``(t, L)``, without infinities; 0 throughout where a problem is never finite."""
    log_likelihood = rollout.log_likelihood
    return torch.where(log_likelihood.isfinite().any(0), log_likelihood.clamp_min(-WORTHLESS), 0.0)


def draw_halting(table: Tensor, T: Tensor, random: torch.Generator) -> Tensor:
    """t given ``T (num_draws, L)`` from ``table (T, L, t)`` of log p(t|T), a draw at a time to bound the memory."""
    problem = torch.arange(T.shape[1])
    return torch.stack([Steps(table[row - 1, problem], validate_args=False).draw((), random) for row in T])


def infer(objective: Objective, optimizee: Optimizee) -> Inference:
    """Unroll H steps on ``optimizee`` and put everything on the CPU in double precision."""
    with torch.no_grad():
        rollout = objective.eval().unroll(optimizee)
        rollout = rollout._replace(nll=returned(rollout.nll, objective.rule, optimizee, objective.unrolling.looks))
    return infer_from(objective, rollout)


def infer_from(objective: Objective, rollout: Rollout) -> Inference:
    """The same of a ``rollout`` of H steps whose losses are of what is returned, without recorded gradients."""
    with torch.no_grad():
        rollout = rollout._replace(features=rollout.features.nan_to_num())
        q = objective.belief(rollout)
        rollout = Rollout(rollout.nll.cpu().double(), rollout.features.cpu().double(), {})
        prior, log_likelihood = objective.prior.double(), _finite_log_likelihood(rollout)
        if q is None:
            log_horizon = exact.log_horizon_posterior(prior, log_likelihood)
        else:
            q = type(q)(q.logits.cpu().double())
            log_horizon = objective.log_horizon(q, prior, log_likelihood)
        kl_scale, halting_first = (getattr(objective, name, None) for name in ("kl_scale", "halting_first"))
        return Inference(rollout, prior, q, log_horizon, kl_scale or 1.0, bool(halting_first))
