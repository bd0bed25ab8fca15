"""Simulation-based calibration of the exact posterior, and of q where it can equal it; and faults that it must see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor
from torch.distributions import Bernoulli, Normal

from probact.inference import exact
from probact.inference.belief import Inference
from probact.inference.posteriors.base import POSTERIORS, HaltingDistribution
from probact.inference.prior_parts import HALTING_PRIORS, HORIZON_PRIORS
from probact.inference.priors import Prior
from probact.testing.calibration import Simulated, histogram, p_value, ranks, simulate, stick_breaking_logits
from tests.helpers.checks import prior_of

pytestmark = pytest.mark.usefixtures("double")

H, NU, NUM, NUM_DRAWS = 20, 0.9, 4_000, 99
PATH = 3 * 0.8 ** torch.arange(1, H + 1, dtype=torch.float64)
"""theta_1..theta_H of gradient descent on a parabola: its late steps are hard to tell apart."""
LIKELIHOODS = {"normal": Normal(PATH, 0.5), "bernoulli": Bernoulli(logits=PATH)}


def simulated(likelihood: str = "normal", prior: Prior | None = None) -> Simulated:
    return simulate(prior or prior_of(NU, H), LIKELIHOODS[likelihood], NUM, num_observations=2)


def calibration(problems: Simulated, inference: Inference) -> list[float]:
    """p-values of the ranks of T and t among draws from ``inference``."""
    pairs = zip(inference.draw(NUM_DRAWS, torch.default_generator), (problems.T, problems.t), strict=True)
    return [p_value(histogram(ranks(draws, truth), NUM_DRAWS)) for draws, truth in pairs]


def exactly(
    problems: Simulated, prior: Prior | None = None, change: Callable[[Tensor], Tensor] = lambda nll: nll
) -> Inference:
    """The exact posterior, if the prior is right and the losses are not changed."""
    prior, rollout = prior or prior_of(NU, H), problems.rollout._replace(nll=change(problems.rollout.nll))
    return Inference(rollout, prior, None, exact.log_horizon_posterior(prior, rollout.log_likelihood))


def guided(problems: Simulated, halting: str, guide: str) -> Inference:
    """q with the logits of the exact posterior, and q(T|x) as ``guide`` has it."""
    prior, log_likelihood = prior_of(NU, H), problems.rollout.log_likelihood
    log_pmf = exact.log_posterior(prior, log_likelihood)
    if guide != "halting first":
        log_pmf = torch.log_softmax(prior.log_unnormalised_halting().unsqueeze(-1) + log_likelihood, 0)
    logits = torch.diff(log_pmf, dim=0, prepend=log_pmf[:1]) if halting == "softmax" else stick_breaking_logits(log_pmf)
    q: HaltingDistribution = POSTERIORS[halting](logits)
    log_horizon = prior.log_horizon().unsqueeze(-1).expand(H, NUM)
    if guide == "infer horizon":
        log_horizon = exact.optimal_horizon(prior, exact.elbo_given_horizon(q, prior, log_likelihood))
    elif guide == "halting first":
        q = first = exact.halting_first(q, prior)
        log_horizon = exact.horizon_after_halting(first, prior)
    return Inference(problems.rollout, prior, q, log_horizon)


@pytest.mark.parametrize("likelihood", list(LIKELIHOODS))
def test_the_exact_posterior_is_calibrated(likelihood: str) -> None:
    problems = simulated(likelihood)
    assert min(calibration(problems, exactly(problems))) > 1e-3


PRIORS = [{"horizon_prior": name} for name in HORIZON_PRIORS] + [{"halting_prior": name} for name in HALTING_PRIORS]


@pytest.mark.parametrize("parts", PRIORS, ids=str)
def test_the_exact_posterior_is_calibrated_under_every_prior(parts: dict[str, Any]) -> None:
    """Of the 20 p-values of these tests one is below 1e-4 by chance once in 500 times."""
    prior = Prior(NU, H, **parts)
    problems = simulated(prior=prior)
    assert min(calibration(problems, exactly(problems, prior))) > 1e-4


@pytest.mark.parametrize(
    ("halting", "guide"),
    [
        ("softmax", "infer horizon"),
        ("truncated", "infer horizon"),
        ("softmax", "halting first"),
        ("truncated", "halting first"),
        ("stick-breaking", "halting first"),
    ],
)
def test_a_guide_that_can_be_exact_is_calibrated(halting: str, guide: str) -> None:
    problems = simulated()
    assert min(calibration(problems, guided(problems, halting, guide))) > 1e-3


@pytest.mark.parametrize(
    "fault",
    [
        lambda problems: exactly(problems, prior_of(0.8, H)),
        lambda problems: exactly(problems, Prior(NU, H, horizon_prior="flat")),
        lambda problems: exactly(problems, change=lambda nll: 2 * nll),  # what a KL scale of 1/2 asks for
        lambda problems: exactly(problems, change=lambda nll: nll.roll(1, 0)),  # the loss before the step
        lambda problems: guided(problems, "truncated", "prior's horizon"),
        lambda problems: guided(problems, "stick-breaking", "infer horizon"),  # what is left piles up at T
    ],
    ids=[
        "another nu",
        "another p(T)",
        "a tempered likelihood",
        "one step late",
        "no horizon inferred",
        "a remainder at T",
    ],
)
def test_a_fault_is_seen(fault: Callable[[Simulated], Inference]) -> None:
    problems = simulated()
    assert min(calibration(problems, fault(problems))) < 1e-6


def test_the_random_ranks_of_ties_are_uniform() -> None:
    same = torch.ones(NUM_DRAWS, 20_000, dtype=torch.int64)
    assert p_value(histogram(ranks(same, same[0]), NUM_DRAWS)) > 1e-3
    assert set(ranks(same[:1], same[0]).tolist()) == {0, 1}


def test_p_values_are_those_of_scipy() -> None:
    counts = torch.tensor([90, 110, 130, 95, 75])
    assert p_value(counts) == pytest.approx(chisquare(counts.numpy()).pvalue)
    with pytest.raises(ValueError, match=r"M \+ 1 to be a multiple of 20 bins, got M = 100"):
        histogram(counts, num_draws=100)
