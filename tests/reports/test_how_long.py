"""The answer to how long problems want to be optimized."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch
from torch import Tensor

from probact.inference.continuation import log_evidence_at
from probact.inference.priors import Prior
from probact.reports.how_long import HowLong, how_long, posterior_of_nu, table
from probact.reports.nu_figure import evidence_curve
from probact.reports.style import styled

H = 15


def losses(steps: float, num: int = 60) -> Tensor:
    """Losses that are smallest near ``steps``, and 20 nats more far away."""
    t = torch.arange(1, H + 1).double().unsqueeze(-1)
    return 20 * (1 - torch.exp(-((t - steps) ** 2) / 4)).expand(-1, num)


def of_nu(nu: Tensor) -> Prior:
    return Prior(nu, H)


def test_the_curve_is_the_evidence_and_the_best_nu_its_top() -> None:
    found = how_long({"few": losses(4.0)}, of_nu, 0.95)
    nu = torch.tensor(found.nu, dtype=torch.float64)
    again = log_evidence_at(nu, -losses(4.0), of_nu).mean(-1)
    assert torch.allclose(torch.tensor(found.evidence, dtype=torch.float64), again)
    assert found.best == pytest.approx(found.nu[int(again.argmax())])
    assert found.low < found.best < found.high
    assert found.said.startswith("These problems want to be optimized for ")
    mean = float(Prior(torch.tensor(found.best, dtype=torch.float64), H).marginal().mean)
    assert f"{mean:.3g} steps on average" in found.said
    trained = log_evidence_at(torch.tensor(0.95, dtype=torch.float64), -losses(4.0), of_nu).mean()
    assert found.gain == pytest.approx(float(again.max() - trained))
    assert HowLong.from_json(found.to_json()).best == found.best


def test_the_scale_of_the_losses() -> None:
    plain, scaled = how_long({"few": losses(4.0)}, of_nu, 0.9), how_long({"few": 8 * losses(4.0)}, of_nu, 0.9, 8.0)
    assert scaled.best == pytest.approx(plain.best)
    assert "at KL scale 8" in table(scaled)
    assert "KL scale" not in table(plain)


@pytest.mark.parametrize(("slope", "said"), [(-5.0, "for longer than H = 15 steps"), (5.0, "no second step")])
def test_no_number_where_there_is_none(slope: float, said: str) -> None:
    path = slope * torch.arange(1, H + 1).double().unsqueeze(-1).expand(-1, 5)
    found = how_long({"all": path}, of_nu, 0.9)
    assert said in found.said
    assert said in table(found)
    assert json.loads(found.to_json())["low"] is None


def test_an_interval_that_does_not_end_within_the_horizon() -> None:
    """Few problems that go on to the last steps: how much longer they would, nobody can tell."""
    found = how_long({"some": losses(H - 4.0, num=3)}, of_nu, 0.9)
    assert found.end == "" or "longer" in found.said
    assert f"H = {H}" in found.said


@pytest.mark.parametrize("num", [1, 2, 5])
def test_hardly_anything_is_known_of_a_few_problems(num: int) -> None:
    """The interval may go as far as nu is looked for, and the answer is still one."""
    t = torch.arange(1, H + 1).double().unsqueeze(-1)
    for width in (1e-3, 1e-2, 0.1):
        found = how_long({"few": width * (t - 6).square().expand(-1, num)}, of_nu, 0.9)
        assert found.said.startswith("These ")
        assert "nan" not in table(found)


def test_losses_that_say_nothing() -> None:
    found = how_long({"all": torch.zeros(H, 5, dtype=torch.float64)}, of_nu, 0.9)
    assert found.said == "These losses say nothing of nu: the evidence is the same for all."


def test_the_figure_shows_curve_best_and_trained() -> None:
    found = how_long({"few": losses(4.0)}, of_nu, 0.95)
    with styled():
        figure = evidence_curve(found)
    (axes,) = figure.axes
    assert figure.get_suptitle().replace("\n", " ") == found.said
    curve, *marks = axes.lines
    assert curve.get_ydata() == pytest.approx(found.evidence)
    assert sorted(float(mark.get_xdata()[0]) for mark in marks) == pytest.approx(sorted([1 / (1 - found.best), 20.0]))
    assert len(axes.get_legend().get_texts()) == 2


@pytest.mark.slow
def test_kinds_have_a_posterior_each() -> None:
    kinds, prior_at = {"few": losses(3.0), "many": losses(8.0)}, partial(Prior, horizon=H)
    draws = posterior_of_nu(kinds, prior_at, draws=150)
    sizes = {name: dict(values.sizes) for name, values in draws["posterior"].to_dataset().items()}
    each = {"chain": 2, "draw": 150}
    assert sizes == {"nu": {**each, "kind": 2}, "mu": each, "tau": each}
    found = how_long(kinds, prior_at, 0.9, posterior=draws)
    assert found.posterior["few"].high < found.posterior["many"].low
    for one in found.posterior.values():
        assert one.r_hat < 1.1
        assert one.ess > 30
    assert "few" in table(found)
