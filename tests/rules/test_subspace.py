"""The learned subspace rule: what it does not depend on, and that its safeguards hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from probact.judging.trajectory import loss_curve
from probact.problems.base import FAMILIES, Optimizee
from probact.rules.base import RULES
from probact.rules.subspace.memory import NUM_DIRECTIONS
from probact.unrolling.rollout import unroll
from tests.helpers.checks import problems

pytestmark = pytest.mark.usefixtures("double")


def moved(**options: Any) -> torch.nn.Module:
    """A rule whose output is not at its start."""
    rule = RULES["subspace"](**options)
    torch.manual_seed(2)
    with torch.no_grad():
        rule.output.weight.normal_(0, 0.1)
    return rule.double()


def path(rule: Any, optimizee: Optimizee, num_steps: int = 12) -> Tensor:
    with torch.no_grad():
        return unroll(rule, optimizee, num_steps).nll


def test_it_starts_as_lbfgs_but_for_the_first_step() -> None:
    """From the same theta_1 on both walk the same path."""
    optimizee: Any = problems("regression", 4)
    rule = RULES["subspace"](first_share=0.2).double()
    start = optimizee.theta0["theta"]
    loss = optimizee.nll(optimizee.theta0)
    grad = torch.func.grad(lambda theta: optimizee.nll({"theta": theta}).sum())(start)
    for problem in range(4):
        alone = optimizee.select(torch.tensor([problem]))
        lr = 0.2 * float(loss[problem] / grad[problem].square().sum())
        torch.testing.assert_close(
            path(rule, alone), loss_curve(RULES["lbfgs"](lr=lr), alone, 12), rtol=1e-6, atol=1e-6
        )


@pytest.mark.parametrize("factor", [1e-4, 1e3])
def test_the_scale_of_the_loss_does_not_matter(factor: float) -> None:
    """theta's path is the same for f and c f."""
    optimizee: Any = problems("quadratic", 5)
    scaled = replace(optimizee, noise=lambda residual: factor * residual.square().sum(-1))
    rule = moved()
    torch.testing.assert_close(path(rule, scaled) / factor, path(rule, optimizee), rtol=1e-5, atol=1e-7)


def test_the_scale_and_axes_of_the_parameters_do_not_matter() -> None:
    """theta = c R phi with a rotation R: the losses are those of theta.  (Adam's direction alone reads the axes.)

    The vector is no matrix, so that it is its own whitened direction.
    """
    optimizee: Any = problems("quadratic", 5)
    rule = moved()
    with torch.no_grad():
        for output in (rule.output.weight, rule.output.bias):
            output[4] = output[NUM_DIRECTIONS + 4] = 0.0  # no weight on Adam's direction, in either unit,
        for cell in rule.cells:
            cell.weight_ih.zero_()  # and no look at it
    rotation = torch.linalg.qr(torch.randn(10, 10)).Q
    turned = replace(
        optimizee, design=optimizee.design @ rotation * 7, theta0={"theta": optimizee.theta0["theta"] @ rotation / 7}
    )
    torch.testing.assert_close(path(rule, turned), path(rule, optimizee), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("family", ["digits", "student-t", "logistic-mixed", "rosenbrock"])
def test_it_runs_where_it_was_not_made_for(family: str) -> None:
    rule = RULES["subspace"](memory=3, num_layers=2).double()
    assert len(rule.cells) == 2
    nll = path(rule, problems(family, 6), 15)
    assert bool(nll[1].isfinite().all())


def test_far_beyond_its_horizon_it_stays_finite() -> None:
    """500 steps of a rule that was thrown off its start: a step is bounded, and a lost problem goes back."""
    nll = path(moved(), FAMILIES["mixed"]().sample(50, torch.Generator().manual_seed(0)).to(torch.float64), 500)
    assert bool(nll.isfinite().all())
    assert float(nll[-1].median()) < float(nll[0].median())


def test_options_are_checked() -> None:
    for bad in ({"hidden_size": 0}, {"memory": -1}, {"first_share": 0.0}):
        with pytest.raises(ValueError, match="rule 'subspace': expected"):
            RULES["subspace"](**bad)


def test_without_lbfgs_it_starts_as_gradient_descent() -> None:
    optimizee = problems("regression", 3)
    with torch.no_grad():
        rollout = unroll(RULES["subspace"](memory=0).double(), optimizee, 2)
    grad = torch.func.grad(lambda theta: optimizee.nll({"theta": theta}).sum())(optimizee.theta0["theta"])
    moved_by = unroll(RULES["subspace"](memory=0).double(), optimizee, 1).params["theta"] - optimizee.theta0["theta"]
    cosine = torch.nn.functional.cosine_similarity(moved_by.detach(), -grad)
    torch.testing.assert_close(cosine, torch.ones(3))
    assert bool(rollout.nll.isfinite().all())
