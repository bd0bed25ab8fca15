"""Functions from Gaussian processes, and what their regret is in nats."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from probact.inference.price import scale_of
from probact.problems.base import FAMILIES
from probact.problems.gaussian_process import Draws, slopes_at, waves_at
from probact.support.kernels import correlation
from probact.testing.problems import check_family

FAMILIES_OF_DRAWS = ("gp-1d", "gp-2d", "gp-3d", "gp-6d")


def drawn(family: str, num: int = 30, seed: int = 0, **options: Any) -> Draws:
    found = FAMILIES.build(family, options).sample(num, torch.Generator().manual_seed(seed))
    assert isinstance(found, Draws)
    return found


@pytest.mark.parametrize("family", FAMILIES_OF_DRAWS)
def test_it_keeps_the_promises_of_a_family(family: str) -> None:
    check_family(FAMILIES[family])


@pytest.mark.parametrize("family", FAMILIES_OF_DRAWS[:2])
def test_no_point_of_the_box_is_below_the_optimum(family: str) -> None:
    problems = drawn(family)
    dim = problems.frequencies.shape[-1]
    points = torch.rand(30, 2000, dim, generator=torch.Generator().manual_seed(5))
    values = waves_at((problems.frequencies, problems.phases, problems.amplitudes), points)
    assert float((values.min(1).values - problems.lowest).min()) > -1e-4
    assert float((values.min(1).values - problems.lowest).mean()) < 0.15 * dim


def test_the_optimum_on_a_line_is_that_of_a_fine_grid() -> None:
    problems = drawn("gp-1d", 10).to(torch.float64)
    grid = torch.linspace(0, 1, 5001, dtype=torch.float64).view(1, -1, 1).expand(10, -1, -1)
    values = waves_at((problems.frequencies, problems.phases, problems.amplitudes), grid)
    torch.testing.assert_close(problems.lowest, values.min(1).values, rtol=0, atol=2e-5)


def test_slopes_are_derivatives() -> None:
    problems = drawn("gp-2d", 3).to(torch.float64)
    waves = problems.frequencies, problems.phases, problems.amplitudes
    x = torch.rand(3, 4, 2, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(slopes_at(waves, x), torch.autograd.grad(waves_at(waves, x).sum(), x)[0])


@pytest.mark.parametrize("kernel", ["rbf", "matern52"])
def test_values_covary_as_the_kernel_says(kernel: str) -> None:
    """Of 1,500 functions of one length-scale; a sample covariance errs by about 1 / sqrt(1500) = .026."""
    num = 1500
    problems = drawn("gp-1d", num, length="0.3", kernel=kernel)
    dim = problems.frequencies.shape[-1]
    distances = torch.tensor([0.0, 0.1, 0.3, 0.6])
    x = torch.zeros(4, dim)
    x[:, 0] = 0.2 + distances
    values = waves_at((problems.frequencies, problems.phases, problems.amplitudes), x.expand(num, -1, -1))
    found = (values[:, :1] * values).mean(0)
    torch.testing.assert_close(found, correlation((distances / 0.3).square(), kernel), rtol=0, atol=0.1)
    assert float(values.mean(0).abs().max()) < 0.1
    asked = {"x": x.unsqueeze(1).expand(-1, num, -1)}
    torch.testing.assert_close(problems.covariance(asked)[0, 0], correlation((distances / 0.3).square(), kernel))


def test_lengths_are_log_uniform_and_prices_within_their_spread() -> None:
    problems = drawn("gp-1d", 2000, length=".1:.4", spread=2.0)
    share = (problems.length / 0.1).log() / math.log(4)
    assert 0 <= float(share.min()) < 0.01
    assert 0.99 < float(share.max()) <= 1.001
    assert float(share.mean()) == pytest.approx(0.5, abs=0.03)
    assert 0.005 <= float(problems.price.min()) < 0.0051
    assert 0.0198 < float(problems.price.max()) <= 0.02


def test_nll_is_regret_in_units_of_the_scale() -> None:
    cost = 0.05136
    family = FAMILIES.build("gp-1d").priced(0.03, cost)
    problems = family.sample(5, torch.Generator().manual_seed(0))
    assert isinstance(problems, Draws)
    scale = scale_of(0.03, cost)
    torch.testing.assert_close(problems.scale, torch.full((5,), scale))
    at = {"x": torch.full((5, 1), 0.3)}
    expected = (problems.value(at) - problems.lowest) / scale + math.log(2 * scale)
    torch.testing.assert_close(problems.nll(at), expected)
    torch.testing.assert_close(problems.optimum(), torch.full((5,), math.log(2 * scale)))
    torch.testing.assert_close(problems.in_nats(torch.ones(5)), torch.full((5,), 1 / scale))


def test_noise_is_on_the_value_seen_alone() -> None:
    problems = drawn("gp-1d", 400, noise=0.3)
    at = {"x": torch.full((400, 1), 0.3)}
    value = problems.value(at)
    seen = torch.stack([problems.observe(value, step) - value for step in (1, 2, 3)])
    assert float(seen.std()) == pytest.approx(0.3, abs=0.03)
    assert not torch.equal(seen[0], seen[1])
    torch.testing.assert_close(problems.observe(value, 1), problems.observe(value, 1))
    torch.testing.assert_close(problems.nll(at), problems.nll_of(value))
    plain = replace(problems, noise=torch.empty(400, 0))
    assert torch.equal(plain.observe(value, 1), value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"length": "0"}, "family 'gp-1d': expected length > 0"),
        ({"length": "-1:2"}, "family 'gp-1d': expected length > 0"),
        ({"length": ".5:.05"}, "family 'gp-1d': expected length >= 0.5"),
        ({"length": "short"}, "family 'gp-1d': expected length LOW:HIGH or one number, got 'short'"),
        ({"length": "nan"}, "family 'gp-1d': expected length > 0"),
        ({"kernel": "cubic"}, "family 'gp-1d': expected kernel rbf or matern52, got str 'cubic'"),
        ({"noise": "-0.1"}, "family 'gp-1d': expected noise >= 0"),
        ({"spread": "0.5"}, "family 'gp-1d': expected spread >= 1"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, str], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        FAMILIES.build("gp-1d", options)
