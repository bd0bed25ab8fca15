"""The price of a query, and what searches are trained on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from probact.inference.exact import map_step
from probact.inference.objectives.base import OBJECTIVES
from probact.inference.objectives.searches import expected_gains
from probact.inference.price import price_of, scale_of
from probact.inference.prior_parts import HORIZON_PRIORS
from probact.inference.priors import Prior
from probact.problems.base import FAMILIES
from probact.problems.gaussian_process import Draws
from probact.rules.base import RULES
from probact.runs.experiment import Experiment
from probact.unrolling.rollout import Rollout, unroll

NU, KAPPA = 0.358, 0.05


@pytest.mark.parametrize("horizon_prior", ["geometric", "flat"])
@pytest.mark.parametrize("horizon", [20, 60])
@pytest.mark.parametrize("price", [0.003, 0.01, 0.03])
def test_the_mode_of_the_sharpened_posterior_is_the_best_step_at_the_price(
    price: float, horizon: int, horizon_prior: str
) -> None:
    """Of p(t) e^(-nll_t / kappa), for regrets that fall as those of searches do and whose best step is before H.

    With the flat prior on all 1,000; with the geometric one, which charges the last step more, on 995.
    """
    random = torch.Generator().manual_seed(horizon)
    steps = torch.arange(1, horizon + 1, dtype=torch.float64).unsqueeze(1)
    drops = torch.rand(horizon, 2500, generator=random, dtype=torch.float64).pow(6) * torch.exp(-steps / 3)
    regret = drops.sum(0) - drops.cumsum(0)
    best = (regret + price * steps).argmin(0)
    kept = (best < horizon - 1).nonzero().squeeze(1)[:1000]
    assert len(kept) == 1000
    assert len(best[kept].unique()) > 3
    scale = scale_of(price, price_of(NU, KAPPA))
    nll = regret / scale + math.log(2 * scale)
    prior = Prior(NU, horizon, "cpu", HORIZON_PRIORS.build(horizon_prior)).double()
    mode = map_step(prior, -nll / KAPPA)
    same = float((mode[kept] == best[kept] + 1).double().mean())
    assert same >= (0.995 if horizon_prior == "geometric" else 1)


def rollout_of(best: Tensor) -> Rollout:
    """Whose row 0 is theta_0."""
    return Rollout(best, torch.zeros(len(best) - 1, best.shape[1], 1), {})


def losses(name: str, rollout: Rollout) -> Tensor:
    experiment = Experiment.create(family="gp-1d", horizon=len(rollout.features))
    objective = OBJECTIVES.build(
        name, rule=RULES.build("lstm-search"), posterior=None, horizon=experiment.build_prior()
    )
    return objective.losses(rollout)


def test_objectives_of_searches_are_what_can_be_written_down() -> None:
    nll = torch.tensor([[9.0, 9.0], [5.0, 2.0], [3.0, 2.0], [3.0, 1.0]])
    torch.testing.assert_close(losses("anytime", rollout_of(nll)), torch.tensor([11 / 3 + 3, 5 / 3 + 1]))
    torch.testing.assert_close(losses("observed-improvement", rollout_of(nll)), torch.tensor([-2.0, -1.0]))
    torch.testing.assert_close(losses("expected-improvement", rollout_of(nll)), torch.tensor([-2.0, -1.0]))
    torch.testing.assert_close(losses("sum-of-losses", rollout_of(nll)), torch.tensor([11.0, 5.0]))


def test_expected_gains_are_those_of_a_dense_gaussian_process() -> None:
    x, y = np.linspace(0.1, 0.9, 6)[[2, 5, 0, 3, 1, 4]], np.array([0.3, -0.4, 1.0, 0.2, -0.6, 0.1])
    K = np.exp(-0.5 * ((x[:, None] - x) / 0.2) ** 2)
    expected = []
    for t in range(1, 6):
        known = K[:t, :t] + 1e-8 * np.eye(t)
        mean = K[t, :t] @ np.linalg.solve(known, y[:t])
        sd = math.sqrt(1 + 1e-8 - K[t, :t] @ np.linalg.solve(known, K[:t, t]))
        z = (y[:t].min() - mean) / sd
        expected.append(sd * (z * norm.cdf(z) + norm.pdf(z)))
    found = expected_gains(torch.tensor(K).unsqueeze(0), torch.tensor(y).unsqueeze(0))
    np.testing.assert_allclose(found[0], expected, rtol=1e-8, atol=1e-12)


def test_expected_improvement_is_observed_improvement_on_average() -> None:
    """Of queries that do not depend on the function: the two means differ by their standard error."""
    problems = FAMILIES.build("gp-1d", {"length": "0.2"}).sample(800, torch.Generator().manual_seed(0))
    assert isinstance(problems, Draws)
    rule = RULES.build("gp-ei", {"length": "known"})
    with torch.no_grad():
        rollout = unroll(rule, problems, 5)
    observed, expected = losses("observed-improvement", rollout), losses("expected-improvement", rollout)
    difference = (observed - expected) * problems.scale
    assert float(observed.mean()) < -1
    assert abs(float(difference.mean())) < 3 * float(difference.std()) / 800**0.5


def test_a_gradient_of_the_expected_improvement_is_that_of_finite_differences() -> None:
    x = torch.tensor([[0.2, 0.7, 0.45, 0.9]], dtype=torch.float64, requires_grad=True)

    def gains(x: Tensor) -> Tensor:
        squares = ((x.unsqueeze(2) - x.unsqueeze(1)) / 0.3).square()
        return expected_gains(torch.exp(-0.5 * squares), torch.sin(6 * x)).sum()

    assert torch.autograd.gradcheck(gains, (x,))


@pytest.mark.parametrize("objective", ["anytime", "observed-improvement", "expected-improvement"])
def test_they_teach_a_search(objective: str) -> None:
    torch.manual_seed(0)
    rule = RULES.build("lstm-search")
    problems = FAMILIES.build("gp-1d").sample(16, torch.Generator().manual_seed(0))
    experiment = Experiment.create(family="gp-1d", horizon=5)
    built = OBJECTIVES.build(objective, rule=rule, posterior=None, horizon=experiment.build_prior())
    loss, _ = built(problems)
    assert bool(torch.autograd.grad(loss, rule.move.weight)[0].any())


def test_the_exact_posterior_of_a_search_is_at_its_price() -> None:
    assert price_of(NU, KAPPA) == pytest.approx(0.0514, abs=1e-4)
    assert scale_of(0.01, 0.0513) == pytest.approx(0.195, abs=1e-3)
