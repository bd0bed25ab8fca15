"""Exact inference in the halting model, from the losses of one unroll.

With the whole path theta_1..theta_K in hand, log p(x | t) = -nll_t is a table of K numbers a problem, so evidence,
posterior, bound and both gaps are finite sums.  ``log_likelihood (K, L)`` holds log p(x | t); the prior's horizon
is K.  For the bound of a guide q (Sander 2017, eq 10)::

    log p(x) - ELBO  =  E_p(T) KL(q(t|x,T) || p(t|x,T))  +  log p(x) - E_p(T) log p(x|T)
         gap                 amortisation gap                      horizon gap (Jensen, eq 4)
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from probact.inference.posteriors.base import HaltingDistribution
from probact.inference.posteriors.conditioned import Scores
from probact.inference.priors import Prior


def log_evidence(prior: Prior, log_likelihood: Tensor) -> Tensor:
    """log p(x) = log sum_t p_H(t) p(x|t), ``(L,)``."""
    return torch.logsumexp(prior.log_marginal().unsqueeze(-1) + log_likelihood, 0)


def log_evidence_given_horizon(prior: Prior, log_likelihood: Tensor) -> Tensor:
    """log p(x|T) = log sum_{t <= T} p(t|T) p(x|t), ``(T, L)``."""
    joint = prior.log_unnormalised_halting().unsqueeze(-1) + log_likelihood
    return torch.logcumsumexp(joint, 0) - prior.log_halting_normaliser().unsqueeze(-1)


def log_posterior(prior: Prior, log_likelihood: Tensor) -> Tensor:
    """log p(t|x), ``(t, L)``."""
    return torch.log_softmax(prior.log_marginal().unsqueeze(-1) + log_likelihood, 0)


def log_posterior_given_horizon(prior: Prior, log_likelihood: Tensor) -> Tensor:
    """log p(t|x,T), ``(T, L, t)``, -inf for t > T."""
    joint = prior.log_halting().unsqueeze(1) + log_likelihood.T
    return torch.log_softmax(joint, -1)


def log_horizon_posterior(prior: Prior, log_likelihood: Tensor) -> Tensor:
    """log p(T|x), ``(T, L)``."""
    joint = prior.log_horizon().unsqueeze(-1) + log_evidence_given_horizon(prior, log_likelihood)
    return torch.log_softmax(joint, 0)


def map_step(prior: Prior, log_likelihood: Tensor) -> Tensor:
    """argmax_t p(t|x), ``(L,)`` int64 in 1..H; with horizon prior ``flat`` the smallest nll_t - t log nu."""
    return 1 + log_posterior(prior, log_likelihood).argmax(0)


def elbo_given_horizon(q: HaltingDistribution, prior: Prior, log_likelihood: Tensor, kl_scale: float = 1.0) -> Tensor:
    """ELBO_T = E_q(t|x,T)[log p(x|t)] - kl_scale KL(q(t|x,T) || p(t|T)), ``(T, L)``: the bracket of eq 10."""
    log_joint = log_likelihood + kl_scale * prior.log_unnormalised_halting().unsqueeze(-1)
    log_normaliser = prior.log_halting_normaliser().unsqueeze(-1)
    return q.expect(log_joint) + kl_scale * (q.entropy() - log_normaliser)


def optimal_horizon(prior: Prior, bound: Tensor, kl_scale: float = 1.0) -> Tensor:
    """log q(T|x) of the best horizon posterior, ~ p(T) e^{ELBO_T / kl_scale}, ``(T, L)``, for ``bound`` ELBO_T."""
    return torch.log_softmax(prior.log_horizon().unsqueeze(-1) + bound / kl_scale, 0)


def elbo(
    q: HaltingDistribution,
    prior: Prior,
    log_likelihood: Tensor,
    kl_scale: float = 1.0,
    log_horizon: Tensor | None = None,
) -> Tensor:
    """The ELBO under the guide's ``log_horizon`` log q(T|x) ``(T, L)``, by default p(T); ``(L,)``.

    E_q(T|x)[ELBO_T] - kl_scale KL(q(T|x) || p(T)).
    """
    bound = elbo_given_horizon(q, prior, log_likelihood, kl_scale)
    log_prior = prior.log_horizon().unsqueeze(-1)
    if log_horizon is None:
        return (log_prior.exp() * bound).sum(0)
    return (log_horizon.exp() * (bound - kl_scale * (log_horizon - log_prior))).sum(0)


def halting_first(q: HaltingDistribution, prior: Prior) -> Scores:
    """q(t|x,T) of the guide q(t|x) p(T|t), where q(t|x) = q(t|x,H): ~ q(t|x) r^(t-1) / p(t) on t <= T."""
    log_halting = q.log_last_row().clamp_min(-1e30)  # a finite zero: 0 * -inf would be NaN in the sums
    return Scores(log_halting + (prior.log_unnormalised_halting() - prior.log_marginal()).unsqueeze(-1))


def horizon_after_halting(q: Scores, prior: Prior) -> Tensor:
    """log q(T|x) = log sum_t q(t|x) p(T|t) of that guide, ``(T, L)``."""
    given_halting = prior.log_horizon() - prior.log_halting_normaliser()
    return torch.log_softmax(given_halting.unsqueeze(-1) + torch.logcumsumexp(q.scores(), 0), 0)


class Gaps(NamedTuple):
    """Each ``(L,)`` in nats: ``log_evidence - elbo = amortisation + horizon``; both gaps are >= 0."""

    elbo: Tensor
    log_evidence: Tensor
    amortisation: Tensor
    horizon: Tensor


def gaps(q: HaltingDistribution, prior: Prior, log_likelihood: Tensor, log_horizon: Tensor) -> Gaps:
    """The bound at ``kl_scale`` 1 under the guide's ``log_horizon`` log q(T|x) ``(T, L)``, and what it loses.

    With q(T|x) = p(T) these are the module's formulas.  Else the amortisation gap is a mean under q(T|x), and the
    horizon gap is log p(x) - E_q(T|x)[log p(x|T)] + KL(q(T|x) || p(T)), which is KL(q(T|x) || p(T|x)).
    """
    evidence = log_evidence(prior, log_likelihood)
    bound = elbo_given_horizon(q, prior, log_likelihood)
    given_horizon = log_evidence_given_horizon(prior, log_likelihood)
    weight = log_horizon.exp()
    divergence = (weight * (log_horizon - prior.log_horizon().unsqueeze(-1))).sum(0)
    amortisation = (weight * (given_horizon - bound)).sum(0)
    horizon = evidence - (weight * given_horizon).sum(0) + divergence
    return Gaps((weight * bound).sum(0) - divergence, evidence, amortisation, horizon)


def mean_step(log_pmf: Tensor) -> Tensor:
    """Mean of ``log_pmf (t, ...)``, in steps."""
    steps = torch.arange(1, len(log_pmf) + 1, dtype=log_pmf.dtype, device=log_pmf.device)
    return torch.tensordot(steps, log_pmf.exp(), 1)
