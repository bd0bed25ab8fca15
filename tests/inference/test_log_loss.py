"""The log loss: free of scale, defined for every loss, alone and beside the ELBO."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from probact.inference.objectives.base import RESOLUTION, log_loss
from probact.runs.experiment import Experiment
from probact.support.randomness import random_stream
from probact.training.meta_training import MetaTraining
from probact.unrolling.rollout import Rollout
from tests.helpers.checks import HORIZON, NUM, gradients, objective, problems


def _rollout(nll: Tensor, optimum: Tensor | None = None) -> Rollout:
    num_rows, num = nll.shape
    return Rollout(nll, torch.zeros(num_rows - 1, num, 0), {"theta": torch.zeros(num, 1)}, None, optimum)


@pytest.mark.parametrize(("family", "floor"), [("quadratic", 0.0), ("regression", 5 * math.log(2 * math.pi))])
def test_by_hand(family: str, floor: float, double: None) -> None:
    built = objective(halting="none", objective="log-loss")
    loss, rollout = built(problems(family))
    nll = rollout.nll.detach().tolist()
    logs = [math.log(nll[t][problem] - floor + 1e-3) for t in range(1, HORIZON + 1) for problem in range(NUM)]
    assert loss.item() == pytest.approx(sum(logs) / len(logs))


def test_a_factor_on_the_loss_changes_no_gradient(double: None) -> None:
    """And the start alone, which no rule can change, has none."""
    path = torch.rand(6, 3) + 1.0
    shares = []
    for factor in (1e3, 1e6):
        nll = (factor * path).requires_grad_()
        log_loss(_rollout(nll)).sum().backward()
        assert nll.grad is not None
        shares.append(nll.grad * nll.detach())
        assert bool((nll.grad[0] == 0).all())
    torch.testing.assert_close(shares[0], shares[1], rtol=1e-5, atol=0)
    torch.testing.assert_close(shares[1][1:], torch.full((5, 3), 1 / 5), rtol=1e-5, atol=0)


def test_below_the_floor_the_tangent_goes_on(double: None) -> None:
    nll = torch.tensor([[0.0] * 5, [-2.0, -RESOLUTION, 0.0, 1e-12, RESOLUTION]], requires_grad=True)
    found = log_loss(_rollout(nll))
    assert bool((found.diff() > 0).all())
    found.sum().backward()
    assert nll.grad is not None
    expected = torch.tensor([1 / RESOLUTION] * 4 + [0.5 / RESOLUTION])
    torch.testing.assert_close(nll.grad[1], expected)


def test_a_problem_that_diverged_takes_its_optimum_along(double: None) -> None:
    nll = torch.tensor([[3.0, 3.0], [2.0, torch.inf]])
    kept = _rollout(nll, torch.tensor([1.0, 2.0])).finite()
    torch.testing.assert_close(log_loss(kept), torch.tensor([1.0 + RESOLUTION]).log())


@pytest.mark.parametrize("through_path", [False, True])
@pytest.mark.parametrize("truncate", [0, 3])
@pytest.mark.parametrize("settings", [{"halting": "none", "objective": "log-loss"}, {"log_loss_weight": 2.0}])
def test_recomputed_it_is_the_same(settings: dict[str, Any], truncate: int, through_path: bool, double: None) -> None:
    found = []
    for recompute in (False, True):
        built = objective(**settings, truncate=truncate, through_path=through_path, recompute=recompute)
        loss, _ = built(problems("quadratic"))
        found.append({"loss": loss.detach().clone(), **gradients(loss, built)})
    torch.testing.assert_close(found[0], found[1])
    assert all(bool(gradient.abs().max() > 0) for gradient in found[0].values())


@pytest.mark.parametrize("halting", ["stick-breaking", "graves"])
def test_added_it_teaches_the_steps_after_halting(halting: str, double: None) -> None:
    optimizee = problems("quadratic")
    plain, with_logs = (objective(halting=halting, log_loss_weight=weight) for weight in (0.0, 0.7))
    rollout = plain.unroll(optimizee)
    for built in (plain, with_logs):
        assert built.posterior is not None
        with torch.no_grad():
            built.posterior.output.bias.fill_(30.0)  # halts at the first step
    expected = plain.loss(rollout) + 0.7 * log_loss(rollout).mean()
    torch.testing.assert_close(with_logs(optimizee)[0], expected)
    last = {}
    for built in (plain, with_logs):
        loss, rollout = built(optimizee)
        (last[built.log_loss_weight],) = torch.autograd.grad(loss, rollout.nll)
    assert float(last[0.0][-1].abs().max()) < 1e-6
    assert float(last[0.7][-1].abs().min()) > 1e-3


def test_training_lowers_it() -> None:
    settings = {"family": "quadratic", "halting": "none", "objective": "log-loss", "horizon": 10, "batch": 32}
    experiment = Experiment.create(**settings, meta_steps=40, validate_every=40, validation_problems=16)
    training = MetaTraining(experiment)
    before = training.validate().loss
    list(training)
    assert training.best_validation < before - 0.3


def test_a_known_optimum_reaches_the_rollout() -> None:
    built = objective(halting="none")
    assert built.unroll(problems("digits", 2)).optimum is None
    optimizee = Experiment.create(family="mixed").build_family().sample(3, random_stream("test", 0))
    assert built.unroll(optimizee).optimum is optimizee.optimum()
