"""Simulation-based calibration (Talts et al. 2018, arXiv:1804.06788): are draws from a posterior what they say?

With T, t ~ p(T) p(t|T) and x ~ p(x|t), the rank of t among M draws from p(t|x) is uniform over 0..M, and so is T's.
The path theta_1..theta_H must not depend on x here, as no other likelihood can be drawn from.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from probact.inference.priors import Prior
from probact.unrolling.rollout import Rollout


class Simulated(NamedTuple):
    """L draws from the model.

    :ivar T, t: ``(L,)`` int64.
    :ivar rollout: of H steps, with nll_t = -log p(x|t) (row 0 counts for nothing) and no features.
    """

    T: Tensor
    t: Tensor
    rollout: Rollout


def simulate(prior: Prior, likelihood: Distribution, num: int, num_observations: int = 1) -> Simulated:
    """Draw horizon, halting step and ``num_observations`` numbers x of each of ``num`` problems.

    :param likelihood: p(x|theta_t) of one number, with batch shape ``(H,)``: an entry a step.
    """
    T = prior.horizon_distribution().draw((num,))
    t = prior.halting_distribution(T).draw()
    every = likelihood.sample(torch.Size((num, num_observations)))
    x = every.gather(-1, (t - 1).view(-1, 1, 1).expand(-1, num_observations, 1))
    nll = -likelihood.log_prob(x).sum(1).T
    return Simulated(T, t, Rollout(torch.cat([nll[:1], nll]), nll.new_zeros(*nll.shape, 0), {}))


def ranks(draws: Tensor, truth: Tensor) -> Tensor:
    """The rank in 0..M of ``truth (L,)`` among ``draws (M, L)``, ties broken at random; ``(L,)`` int64."""
    ties = (draws == truth).sum(0)
    return (draws < truth).sum(0) + (torch.rand(len(truth), dtype=torch.float64) * (ties + 1)).long()


def histogram(ranks: Tensor, num_draws: int, num_bins: int = 20) -> Tensor:
    """How many ranks fall into each of ``num_bins`` bins of equal width; M + 1 must be a multiple of it."""
    if (num_draws + 1) % num_bins:
        raise ValueError(f"expected M + 1 to be a multiple of {num_bins} bins, got M = {num_draws} draws")
    return torch.bincount(ranks * num_bins // (num_draws + 1), minlength=num_bins)


def p_value(counts: Tensor) -> float:
    """Of the chi-square test that all bins of ``counts`` are equally likely."""
    expected = counts.sum() / len(counts)
    statistic = ((counts - expected) ** 2 / expected).sum().double()
    return float(torch.special.gammaincc(torch.tensor((len(counts) - 1) / 2).double(), statistic / 2))


def stick_breaking_logits(log_pmf: Tensor) -> Tensor:
    """The logits, ``(H, L)``, with which stick-breaking has the mass ``log_pmf (t, L)``: log p(t) - log p(> t)."""
    beyond = torch.logcumsumexp(log_pmf.flip(0), 0).flip(0)[1:]
    return torch.cat([log_pmf[:-1] - beyond, torch.full_like(log_pmf[:1], 50.0)])
