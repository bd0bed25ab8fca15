"""nu, the probability to continue, as a parameter like others: how long do these problems want to be optimized?

The losses of one unroll do not depend on nu.  So with log p(x_l|t) ``(H, L)`` in hand, t and T are summed out exactly
for any nu, log p(x_l|nu) = logsumexp_t [log p_H(t; nu) + log p(x_l|t)], and nu is left as the only unknown::

    empirical Bayes   the nu that maximises sum_l log p(x_l|nu)
    Bayes             nu ~ Beta(alpha, beta), p(nu|x) ~ p(nu) prod_l p(x_l|nu)                   NUTS
    kinds             logit nu_k = mu + tau e_k,  e_k ~ N(0, 1), of each kind of problems        NUTS, partial pooling

Losses at a KL scale kappa enter as log p(x|t) / kappa, as q was trained.  (Carlin and Louis 2000, chapter 3; Gelman et
al. 2013, chapter 5; the non-centred form: Papaspiliopoulos, Roberts and Skoeld 2007.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import MCMC, NUTS
from torch import Tensor

from probact.inference.priors import Prior

SILENCE = 1e-6
"""Nats a problem: evidences nearer to each other say nothing of nu."""
OfNu = Callable[[Tensor], Prior]
"""The prior at every entry of nu ``(*batch)``: ``lambda nu: Prior(nu, H)``."""
LARGEST_LOGIT = 12.0
"""|logit nu| up to which nu is looked for: means of 1.000006 and of 160,000 steps."""


def log_evidence_at(nu: Tensor, log_likelihood: Tensor, of_nu: OfNu) -> Tensor:
    """log p(x|nu) at every entry of ``nu (*batch)``, of problems with log p(x|t) ``(H, L)``; ``(*batch, L)``."""
    marginal = of_nu(nu).log_marginal()
    return torch.logsumexp(marginal.unsqueeze(-1) + log_likelihood, -2)


class BestNu(NamedTuple):
    """The nu of the largest evidence.

    :ivar logit_error: standard error of logit nu, from the curvature there; inf without one, NaN at an end.
    :ivar end: "shorter" if no second step would be best, "longer" if H are too few: the evidence has no maximum inside
        (0, 1), and nu is where it was given up; "silent" if it does not depend on nu; else "".
    """

    nu: float
    logit_error: float
    end: str

    def interval(self, errors: float = 1.96) -> tuple[float, float]:
        """nu, so many standard errors of its logit below and above, as far as nu is looked for."""
        logit = torch.logit(torch.tensor(self.nu, dtype=torch.float64))
        ends = logit + errors * self.logit_error * torch.tensor([-1.0, 1.0], dtype=torch.float64)
        low, high = torch.sigmoid(ends.clamp(-LARGEST_LOGIT, LARGEST_LOGIT)).tolist()
        return low, high


def best_nu(log_likelihood: Tensor, of_nu: OfNu) -> BestNu:
    """Empirical Bayes: the nu that maximises the evidence of all problems together; ``log_likelihood (H, L)``."""
    from scipy.optimize import minimize_scalar

    def loss(logit: Tensor) -> Tensor:
        return -log_evidence_at(torch.sigmoid(logit), log_likelihood, of_nu).sum(-1)

    def at(logit: float) -> float:
        try:
            return float(loss(torch.tensor(logit, dtype=torch.float64)))
        except ValueError:  # a nu that this prior has no place for
            return math.inf

    grid = torch.linspace(-LARGEST_LOGIT, LARGEST_LOGIT, 97, dtype=torch.float64)
    losses = torch.tensor([at(logit) for logit in grid.tolist()], dtype=torch.float64)
    within = losses.isfinite()
    grid, losses = grid[within], losses[within]
    nearest = int(losses.argmin())
    if float(losses.max() - losses.min()) < SILENCE * log_likelihood.shape[1]:
        return BestNu(0.5, math.nan, "silent")
    if nearest in (0, len(grid) - 1):
        return BestNu(float(torch.sigmoid(grid[nearest])), math.nan, "longer" if nearest else "shorter")
    around = (float(grid[nearest - 1]), float(grid[nearest + 1]))
    logit = torch.tensor(
        float(minimize_scalar(at, bounds=around, method="bounded", options={"xatol": 1e-8}).x),
        dtype=torch.float64,
        requires_grad=True,
    )
    (slope,) = torch.autograd.grad(loss(logit), logit, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, logit)
    error = curvature.item() ** -0.5 if curvature > 0 else math.inf
    return BestNu(torch.sigmoid(logit).item(), error, "")


def sample_nu(
    log_likelihood: Tensor,
    of_nu: OfNu,
    alpha: float = 1.0,
    beta: float = 1.0,
    *,
    num_draws: int = 500,
    num_chains: int = 2,
    seed: int = 0,
) -> Tensor:
    """Draws of nu given all problems, ``(chain, draw)``: nu ~ Beta(alpha, beta), NUTS (Hoffman and Gelman 2014)."""

    def model() -> None:
        nu = pyro.sample("nu", dist.Beta(log_likelihood.new_tensor(alpha), log_likelihood.new_tensor(beta)))
        pyro.factor("x", log_evidence_at(nu, log_likelihood, of_nu).sum())

    return _draws(model, num_draws, num_chains, seed)["nu"]


def sample_nu_of_kinds(
    log_likelihoods: Mapping[str, Tensor],
    of_nu: OfNu,
    *,
    num_draws: int = 500,
    num_chains: int = 2,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Draws of a nu for each kind of problems, which learn from each other by how much kinds differ.

    logit nu_k = mu + tau e_k with mu ~ N(logit .95, 2^2), tau ~ N+(0, 1), e_k ~ N(0, 1).

    :param log_likelihoods: kind -> log p(x|t) ``(H, L_k)``.
    :returns: ``nu (chain, draw, kind)``, and ``mu`` and ``tau (chain, draw)``, on the logit scale.
    """
    together = torch.cat([*log_likelihoods.values()], 1)
    kind = torch.repeat_interleave(torch.tensor([of_kind.shape[1] for of_kind in log_likelihoods.values()]))
    centre = together.new_tensor(math.log(0.95 / 0.05))

    def model() -> None:
        mu = pyro.sample("mu", dist.Normal(centre, 2 * torch.ones_like(centre)))
        tau = pyro.sample("tau", dist.HalfNormal(torch.ones_like(centre)))
        with pyro.plate("kinds", len(log_likelihoods)):
            e = pyro.sample("e", dist.Normal(torch.zeros_like(centre), torch.ones_like(centre)))
        marginal = of_nu(torch.sigmoid(mu + tau * e).clamp(1e-9, 1 - 1e-9)).log_marginal()
        pyro.factor("x", torch.logsumexp(marginal[kind].T + together, 0).sum())

    found = _draws(model, num_draws, num_chains, seed)
    nu = torch.sigmoid(found["mu"].unsqueeze(-1) + found["tau"].unsqueeze(-1) * found["e"])
    return {"nu": nu, "mu": found["mu"], "tau": found["tau"]}


def _draws(model: Callable[[], None], num_draws: int, num_chains: int, seed: int) -> dict[str, Tensor]:
    """Each ``(chain, draw, ...)``; the global random state is left alone."""
    kept = pyro.util.get_rng_state()
    chains = []
    try:
        with pyro.get_param_store().scope():
            for chain in range(num_chains):
                pyro.set_rng_seed(seed + 7919 * chain)
                sampler = MCMC(NUTS(model), num_draws, max(200, num_draws // 2), disable_progbar=True)
                sampler.run()
                chains.append(sampler.get_samples())
    finally:
        pyro.util.set_rng_state(kept)
    return {name: torch.stack([chain[name] for chain in chains]) for name in chains[0]}
