from __future__ import annotations

import math

import pytest
import torch

from probact.inference import exact
from probact.inference.posteriors.base import POSTERIORS
from probact.inference.posteriors.conditioned import Scores
from probact.inference.priors import Prior
from tests.helpers.checks import brute_force_elbo, prior_of

H, L, NU = 8, 3, 0.8


@pytest.fixture
def log_likelihood() -> torch.Tensor:
    return -3 * torch.rand(H, L, dtype=torch.float64)


def test_evidence_and_posteriors_by_summing_the_joint(log_likelihood: torch.Tensor) -> None:
    prior = prior_of(NU, H)
    p_T, p_t_T, likelihood = prior.log_horizon().exp(), prior.log_halting().exp(), log_likelihood.exp()
    joint = p_T[:, None, None] * p_t_T[:, :, None] * likelihood  # T, t, L
    evidence = joint.sum((0, 1))
    torch.testing.assert_close(exact.log_evidence(prior, log_likelihood), evidence.log())
    torch.testing.assert_close(exact.log_posterior(prior, log_likelihood).exp(), joint.sum(0) / evidence)
    torch.testing.assert_close(exact.log_horizon_posterior(prior, log_likelihood).exp(), joint.sum(1) / evidence)
    given_T = exact.log_posterior_given_horizon(prior, log_likelihood).exp().permute(0, 2, 1)
    torch.testing.assert_close(given_T, joint / joint.sum(1, keepdim=True))
    conditional = joint.sum(1) / p_T[:, None]
    torch.testing.assert_close(exact.log_evidence_given_horizon(prior, log_likelihood), conditional.log())


@pytest.mark.parametrize("name", list(POSTERIORS))
@pytest.mark.parametrize("kl_scale", [1.0, 0.3])
def test_bound_by_brute_force(name: str, kl_scale: float, log_likelihood: torch.Tensor) -> None:
    q = POSTERIORS[name](2 * torch.randn(H, L, dtype=torch.float64))
    ours = exact.elbo(q, prior_of(NU, H), log_likelihood, kl_scale).mean()
    torch.testing.assert_close(ours, brute_force_elbo(q.log_prob().exp(), log_likelihood, NU, kl_scale))


@pytest.mark.parametrize("name", list(POSTERIORS))
@pytest.mark.parametrize("infer_horizon", [False, True])
def test_gap_is_amortisation_plus_horizon(name: str, infer_horizon: bool, log_likelihood: torch.Tensor) -> None:
    prior = prior_of(NU, H)
    q = POSTERIORS[name](2 * torch.randn(H, L, dtype=torch.float64))
    log_horizon = prior.log_horizon().unsqueeze(-1).expand(H, L)
    if infer_horizon:
        log_horizon = exact.optimal_horizon(prior, exact.elbo_given_horizon(q, prior, log_likelihood))
    gaps = exact.gaps(q, prior, log_likelihood, log_horizon)
    torch.testing.assert_close(gaps.elbo, exact.elbo(q, prior, log_likelihood, log_horizon=log_horizon))
    torch.testing.assert_close(gaps.log_evidence - gaps.elbo, gaps.amortisation + gaps.horizon)
    # the amortisation gap is the KL that the docstring says, summed by hand
    given_T, log_q = exact.log_posterior_given_horizon(prior, log_likelihood), q.log_prob()
    terms = torch.where(log_q == -math.inf, 0.0, log_q.exp() * (log_q - given_T))
    divergence = terms.nan_to_num(0.0, 0.0, 0.0).sum(-1)
    torch.testing.assert_close(gaps.amortisation, (log_horizon.exp() * divergence).sum(0))
    assert bool((gaps.amortisation >= 0).all())
    assert bool((gaps.horizon >= -1e-12).all())
    assert bool((gaps.elbo <= gaps.log_evidence).all())


def test_inferring_the_horizon_tightens_the_bound(log_likelihood: torch.Tensor) -> None:
    prior = prior_of(NU, H)
    q = POSTERIORS["stick-breaking"](torch.randn(H, L, dtype=torch.float64))
    plain = exact.elbo(q, prior, log_likelihood)
    optimal = exact.optimal_horizon(prior, exact.elbo_given_horizon(q, prior, log_likelihood))
    by_hand = torch.logsumexp(prior.log_horizon().unsqueeze(-1) + exact.elbo_given_horizon(q, prior, log_likelihood), 0)
    torch.testing.assert_close(exact.elbo(q, prior, log_likelihood, log_horizon=optimal), by_hand)
    assert bool((exact.elbo(q, prior, log_likelihood, log_horizon=optimal) > plain).all())


@pytest.mark.parametrize("name", list(POSTERIORS))
def test_halting_first_loses_only_the_divergence_of_t(name: str, log_likelihood: torch.Tensor) -> None:
    """The joint is q(t|x) p(T|t) entry by entry; the bound is log p(x) - KL(q(t|x) || p(t|x)), with no horizon gap."""
    prior = prior_of(NU, H)
    q = POSTERIORS[name](torch.randn(H, L, dtype=torch.float64))
    q_t = q.log_prob()[-1].exp().T
    given = exact.halting_first(q, prior)
    log_horizon = exact.horizon_after_halting(given, prior)
    joint = log_horizon.exp().unsqueeze(-1) * given.log_prob().exp()
    p_joint = prior.log_horizon().exp().unsqueeze(-1) * prior.log_halting().exp()
    T_given_t = p_joint / p_joint.sum(0)
    torch.testing.assert_close(joint, torch.einsum("tl,Tt->Tlt", q_t, T_given_t))
    torch.testing.assert_close(prior.horizon_given_halting(torch.arange(1, H + 1)).log_pmf.exp(), T_given_t.T)
    evidence, target = exact.log_evidence(prior, log_likelihood), exact.log_posterior(prior, log_likelihood)
    terms = torch.where(q_t > 0, q_t * (q_t.log() - target), 0.0)
    bound = exact.elbo(given, prior, log_likelihood, log_horizon=log_horizon)
    torch.testing.assert_close(evidence - bound, terms.sum(0))
    # an exact q(t|x) closes the gap, whatever the horizon does
    exact_q = exact.halting_first(Scores(target), prior)
    gaps = exact.gaps(exact_q, prior, log_likelihood, exact.horizon_after_halting(exact_q, prior))
    torch.testing.assert_close(gaps.elbo, evidence)
    torch.testing.assert_close(gaps.horizon, torch.zeros(L, dtype=torch.float64))


def test_exact_scores_close_the_amortisation_gap(log_likelihood: torch.Tensor) -> None:
    """A posterior conditioned on t <= T can be exact for every T at once; one with a remainder at T cannot."""
    prior = prior_of(NU, H)
    scores = prior.log_unnormalised_halting().unsqueeze(-1) + log_likelihood
    increments = torch.diff(scores, dim=0, prepend=torch.zeros(1, L, dtype=torch.float64))
    log_horizon = prior.log_horizon().unsqueeze(-1).expand(H, L)
    softmax = POSTERIORS["softmax"](increments)
    torch.testing.assert_close(
        exact.gaps(softmax, prior, log_likelihood, log_horizon).amortisation, torch.zeros(L, dtype=torch.float64)
    )
    mass = torch.softmax(torch.cat([scores, scores.new_zeros(1, L)]), 0)  # any mass may be left after H
    hazard = mass[:-1] / mass.flip(0).cumsum(0).flip(0)[:-1]
    truncated = POSTERIORS["truncated"](torch.logit(hazard))
    torch.testing.assert_close(
        exact.gaps(truncated, prior, log_likelihood, log_horizon).amortisation, torch.zeros(L, dtype=torch.float64)
    )
    logits = torch.logit(hazard).requires_grad_()
    optimizer = torch.optim.LBFGS([logits], max_iter=300, line_search_fn="strong_wolfe")

    def bound() -> torch.Tensor:
        optimizer.zero_grad()
        loss = -exact.elbo(POSTERIORS["stick-breaking"](logits), prior, log_likelihood).mean()
        loss.backward()
        return loss

    optimizer.step(bound)
    best = POSTERIORS["stick-breaking"](logits.detach())
    assert float(exact.gaps(best, prior, log_likelihood, log_horizon).amortisation.min()) > 0.01


def test_map_is_the_cost_optimal_stop() -> None:
    """argmax p(t|x) = argmin nll_t + c t with c = -log nu, for an H that does not truncate."""
    nu, num_steps = 0.8, 40
    nll = 5 * torch.rand(num_steps, 50, dtype=torch.float64)
    nll[20:] += 50  # nothing near the truncation
    prior = Prior(torch.tensor(nu, dtype=torch.float64), 400)
    padded = torch.cat([-nll, torch.full((360, 50), -1e3, dtype=torch.float64)])
    cost = nll - math.log(nu) * torch.arange(1, num_steps + 1).unsqueeze(-1)
    assert torch.equal(exact.map_step(prior, padded), 1 + cost.argmin(0))
    assert prior.step_cost == pytest.approx(-math.log(nu))


def test_diverged_steps_have_no_mass(log_likelihood: torch.Tensor) -> None:
    prior = prior_of(NU, H)
    log_likelihood[5:, 0] = -math.inf
    posterior = exact.log_posterior(prior, log_likelihood).exp()
    assert float(posterior[5:, 0].sum()) == 0
    assert bool(exact.log_evidence(prior, log_likelihood).isfinite().all())
