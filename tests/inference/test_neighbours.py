"""Objectives of neighbours as settings of this one: PonderNet, adaptive computation time, a uniform prior."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from probact import Experiment
from probact.runs.assembly import build_objective
from probact.unrolling.rollout import Rollout

K, BETA, LAMBDA = 9, 0.3, 0.2
PONDERNET = {"halting": "stick-breaking", "halting_first": False, "kl_scale": BETA}
FIXED_T = {"horizon_prior": "empirical", "horizon_prior_options": {"steps": [K], "smoothing": 1e-12},
           "prior_nu": (1 - LAMBDA) ** 2}  # fmt: skip
FIRST = {"horizon_prior": "flat", "halting_first": True, "prior_nu": 1 - LAMBDA}


def objective(**settings: Any) -> Any:
    torch.manual_seed(0)
    built = build_objective(Experiment.create(family="parity", horizon=K, **settings)).double()
    with torch.no_grad():
        built.posterior.output.weight.mul_(10)  # type: ignore[union-attr]
    return built


def some_rollout(built: Any) -> Rollout:
    random = torch.Generator().manual_seed(1)
    num_features = built.posterior.memory.input_size
    nll = torch.rand(K + 1, 6, generator=random, dtype=torch.float64)
    return Rollout(nll, torch.randn(K, 6, num_features, generator=random, dtype=torch.float64), {})


def hazards(built: Any, rollout: Rollout) -> list[list[float]]:
    """lambda_t of each problem, by the head's own weights: ``[t][l]``."""
    hidden, _ = built.posterior.memory(rollout.features)
    return torch.sigmoid(built.posterior.output(hidden).squeeze(-1)).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("settings", [FIXED_T, FIRST], ids=["T = K", "t before T"])
def test_the_loss_of_ponder_net_is_a_setting(settings: dict[str, Any]) -> None:
    """L = sum_n p_n L_n + beta KL(p || geometric), p_n = lambda_n prod_{m<n} (1 - lambda_m), what is left at K.

    Banino, Balaguer, Blundell 2021 (PonderNet), the prior capped at K and normalised.
    """
    built = objective(**{**PONDERNET, **settings})
    rollout = some_rollout(built)
    prior = [LAMBDA * (1 - LAMBDA) ** n for n in range(K)]
    prior = [mass / sum(prior) for mass in prior]
    by_step, expected = hazards(built, rollout), []
    for problem in range(6):
        left, loss = 1.0, 0.0
        for n in range(K):
            p_n = left if n == K - 1 else left * by_step[n][problem]
            left -= p_n
            loss += p_n * float(rollout.nll[n + 1, problem]) + BETA * p_n * math.log(p_n / prior[n])
        expected.append(loss)
    torch.testing.assert_close(built.losses(rollout), torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=1e-6)


def test_the_loss_of_adaptive_computation_time_is_a_setting() -> None:
    """sum_n p_n L_n + tau (N + R), Graves 2016, with one halting unit of a weight that does not depend on the state."""
    built = objective(halting="graves", halting_first=False, ponder_cost=0.01)
    rollout = some_rollout(built)
    by_step, expected = hazards(built, rollout), []
    for problem in range(6):
        spent, loss = 0.0, 0.0
        for n in range(K):
            last = n == K - 1 or spent + by_step[n][problem] >= 1 - 0.01
            p_n = 1 - spent if last else by_step[n][problem]
            loss += p_n * float(rollout.nll[n + 1, problem])
            if last:
                expected.append(loss + 0.01 * (n + 1 + p_n))
                break
            spent += p_n
    torch.testing.assert_close(built.losses(rollout), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(
    "settings",
    [
        {"horizon_prior": "flat", "prior_nu": 1 - 1e-7},
        {"horizon_prior": "empirical", "horizon_prior_options": {"steps": [K], "smoothing": 1e-12},
         "halting_prior": "uniform"},
    ],
    ids=["nu -> 1", "uniform"],
)  # fmt: skip
def test_a_uniform_prior_is_a_setting(settings: dict[str, Any]) -> None:
    prior = Experiment.create(family="parity", horizon=K, **{"halting_first": False, **settings}).build_prior()
    torch.testing.assert_close(prior.log_marginal().exp(), torch.full((K,), 1 / K), atol=1e-5, rtol=0)


def test_a_flat_price_is_not_a_uniform_prior() -> None:
    """``flat`` says what a step costs; how many are made it does not make uniform."""
    prior = Experiment.create(family="parity", horizon=K, horizon_prior="flat", prior_nu=0.8).build_prior()
    torch.testing.assert_close(prior.price(), torch.full((K - 1,), -math.log(0.8)))
