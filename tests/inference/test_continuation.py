"""nu as a parameter: its evidence, its best value and its posterior, each against another way to work it out."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import Tensor

from probact.inference.continuation import BestNu, best_nu, log_evidence_at, sample_nu, sample_nu_of_kinds
from probact.inference.priors import Prior

H = 12


def of_nu(nu: Tensor) -> Prior:
    return Prior(nu, H)


def tables(nu: float, num: int, seed: int = 0) -> Tensor:
    """log p(x|t) around halting steps drawn from the prior, ``(H, num)``."""
    t = of_nu(torch.tensor(nu, dtype=torch.float64)).marginal().draw((num,), torch.Generator().manual_seed(seed))
    return -0.5 * (torch.arange(1, H + 1).double().unsqueeze(-1) - t).square()


@pytest.mark.parametrize("nu", [0.3, 0.9, 0.9999])
def test_evidence_by_brute_force(nu: float) -> None:
    log_likelihood, r = tables(0.8, 3), math.sqrt(nu)
    p_horizon = [r ** (T - 1) * (1 - r**T) * (1 - nu) for T in range(1, H + 1)]
    found = log_evidence_at(torch.tensor([0.5, nu], dtype=torch.float64), log_likelihood, of_nu)
    assert found.shape == (2, 3)
    for problem in range(3):
        evidence = sum(
            p_T / sum(p_horizon) * (1 - r) * r ** (t - 1) / (1 - r**T) * math.exp(log_likelihood[t - 1, problem])
            for T, p_T in enumerate(p_horizon, 1)
            for t in range(1, T + 1)
        )
        assert float(found[1, problem]) == pytest.approx(math.log(evidence), rel=1e-9)


@pytest.mark.parametrize("nu", [0.5, 0.8])
def test_the_best_nu_is_that_of_a_fine_grid(nu: float) -> None:
    log_likelihood = tables(nu, 400)
    found = best_nu(log_likelihood, of_nu)
    logits = torch.linspace(-4, 6, 20_001, dtype=torch.float64)
    curve = log_evidence_at(torch.sigmoid(logits), log_likelihood, of_nu).sum(-1)
    best = int(curve.argmax())
    assert found.end == ""
    assert math.log(found.nu / (1 - found.nu)) == pytest.approx(float(logits[best]), abs=6e-4)
    step = float(logits[1] - logits[0])
    curvature = float(curve[best + 100] - 2 * curve[best] + curve[best - 100]) / (100 * step) ** 2
    assert found.logit_error == pytest.approx((-curvature) ** -0.5, rel=1e-2)
    low, high = found.interval()
    assert low < nu < high


def test_an_interval_ends_where_nu_is_looked_for() -> None:
    low, high = BestNu(0.9, 1e3, "").interval()
    assert 0 < low < 0.9 < high < 1
    assert BestNu(0.9, math.inf, "").interval() == (low, high)


@pytest.mark.parametrize(("slope", "end"), [(3.0, "longer"), (-3.0, "shorter")])
def test_problems_that_want_more_than_all_steps_or_none(slope: float, end: str) -> None:
    found = best_nu(slope * torch.arange(H).double().unsqueeze(-1).expand(-1, 5), of_nu)
    assert found.end == end
    assert math.isnan(found.logit_error)


def test_losses_that_say_nothing_of_nu() -> None:
    found = best_nu(torch.zeros(H, 4, dtype=torch.float64), of_nu)
    assert found.end == "silent"


def test_a_nu_that_a_prior_has_no_place_for_is_passed_over() -> None:
    def picky(nu: Tensor) -> Prior:
        if bool((nu < 0.3).any()):
            raise ValueError("too small")
        return Prior(nu, H)

    falling = -3.0 * torch.arange(H).double().unsqueeze(-1).expand(-1, 5)
    assert best_nu(falling, picky).end == "shorter"  # down to the least nu that there is
    assert best_nu(tables(0.8, 50), picky).nu == pytest.approx(best_nu(tables(0.8, 50), of_nu).nu, rel=1e-6)


@pytest.mark.slow
def test_draws_agree_with_quadrature() -> None:
    """Under a Beta prior that matters; and the caller's random state is as it was."""
    log_likelihood = tables(0.8, 6)
    torch.manual_seed(3)
    random.seed(3)
    before = torch.get_rng_state(), random.getstate()
    draws = sample_nu(log_likelihood, of_nu, 4.0, 2.0, num_draws=200, num_chains=2, seed=1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert draws.shape == (2, 200)
    nu = torch.linspace(1e-6, 1 - 1e-6, 20_001, dtype=torch.float64)
    weight = torch.softmax(log_evidence_at(nu, log_likelihood, of_nu).sum(-1) + 3 * nu.log() + (1 - nu).log(), 0)
    mean = float((weight * nu).sum())
    sd = float((weight * (nu - mean).square()).sum()) ** 0.5
    assert float(draws.mean()) == pytest.approx(mean, abs=5 * sd / 80**0.5)
    assert float(draws.std()) == pytest.approx(sd, rel=0.3)


@pytest.mark.slow
def test_kinds_learn_from_each_other() -> None:
    """Against importance sampling from the prior."""
    kinds = {"short": tables(0.5, 8), "long": tables(0.95, 8, seed=1), "one problem": tables(0.5, 1, seed=2)}
    found = sample_nu_of_kinds(kinds, of_nu, num_draws=250, num_chains=2)
    assert found["nu"].shape == (2, 250, 3)
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(40_000, 5, generator=generator, dtype=torch.float64)
    mu, tau = math.log(19) + 2 * draws[:, 0], draws[:, 1].abs()
    nu = torch.sigmoid(mu.unsqueeze(-1) + tau.unsqueeze(-1) * draws[:, 2:]).clamp(1e-9, 1 - 1e-9)
    tables_of = enumerate(kinds.values())
    weight = torch.softmax(
        torch.stack([log_evidence_at(nu[:, k], table, of_nu).sum(-1) for k, table in tables_of]).sum(0), 0
    )
    assert float(weight.square().sum()) ** -1 > 400  # enough of them count
    expected = (weight.unsqueeze(-1) * nu).sum(0)
    sd = (weight.unsqueeze(-1) * (nu - expected).square()).sum(0).sqrt()
    assert torch.all((found["nu"].mean((0, 1)) - expected).abs() < 5 * sd / 60**0.5)
