from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from probact.problems.base import Optimizee
from probact.rules.base import RULES
from probact.support.trees import Params
from probact.unrolling import progress
from probact.unrolling.progress import NUM_FEATURES
from probact.unrolling.rollout import unroll
from probact.unrolling.walk import Unrolling
from tests.helpers.checks import OPTIMIZERS, gradients, plain_unroll, problems

LEARNED = "lstm"


@pytest.mark.parametrize("family", ["regression", "digits"])
def test_equals_a_plain_loop_in_value_and_gradient(family: str, double: None) -> None:
    """The optimizee's own graph, kept whole by autograd, gives the same meta-gradient as value and gradient alone."""
    rule = RULES[LEARNED](hidden_size=4)
    optimizee = problems(family, 2)
    rollout = unroll(rule, optimizee, 6, Unrolling(through_path=True))
    expected = plain_unroll(rule, optimizee, 6)
    torch.testing.assert_close(rollout.nll, expected)
    weight = torch.rand(7, 2)
    ours = gradients((weight * rollout.nll).sum(), rule)
    for name, gradient in gradients((weight * expected).sum(), rule).items():
        torch.testing.assert_close(ours[name], gradient)


@pytest.mark.parametrize("through_path", [True, False])
def test_truncation_cuts_where_it_says(through_path: bool, double: None) -> None:
    """With segments of 3, the loss of step 5 teaches steps 4 and 5 only: the same as starting over at step 3."""
    rule = RULES[LEARNED](hidden_size=4)
    optimizee = problems("quadratic", 3)
    rollout = unroll(rule, optimizee, 5, Unrolling(truncate=3, through_path=through_path))
    assert torch.equal(rollout.nll, unroll(rule, optimizee, 5).nll.detach())
    ours = gradients(rollout.nll[5].sum(), rule)

    with torch.no_grad():
        params, state = optimizee.theta0, rule.init(optimizee.theta0)
        for _ in range(3):
            grads = {"theta": torch.autograd.functional.jacobian(_total(optimizee), params["theta"])}
            step = rule.step(grads, state, params, torch.zeros(3))
            params, state = {"theta": params["theta"] + step.update["theta"]}, step.state
    for _ in range(2):
        grads = {"theta": torch.autograd.functional.jacobian(_total(optimizee), params["theta"].detach())}
        step = rule.step(grads, state, params, torch.zeros(3))
        theta = params["theta"] if through_path else params["theta"].detach()
        params, state = {"theta": theta + step.update["theta"]}, step.state
    for name, gradient in gradients(optimizee.nll(params).sum(), rule).items():
        torch.testing.assert_close(ours[name], gradient)


def _total(optimizee: Optimizee) -> object:
    return lambda theta: optimizee.nll({"theta": theta}).sum()


def test_cutting_the_path_changes_the_gradient_not_the_value(double: None) -> None:
    rule = RULES[LEARNED](hidden_size=4)
    optimizee = problems("quadratic", 3)
    kept, cut = (unroll(rule, optimizee, 5, Unrolling(through_path=kept)) for kept in (True, False))
    assert torch.equal(kept.nll.detach(), cut.nll.detach())
    a, b = gradients(kept.nll.sum(), rule), gradients(cut.nll.sum(), rule)
    assert any(not torch.allclose(a[name], b[name]) for name in a)


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_features_do_not_see_the_future(rule: str, double: None) -> None:
    """A shorter unroll is the beginning of a longer one."""
    optimizer = RULES[rule]()
    optimizee = problems("regression", 3)
    short, long = unroll(optimizer, optimizee, 4), unroll(optimizer, optimizee, 9)
    torch.testing.assert_close(long.nll[:5], short.nll)
    torch.testing.assert_close(long.features[:4], short.features)
    assert long.features.shape == (9, 3, optimizer.num_features + NUM_FEATURES)


def test_rows_are_one_based() -> None:
    """nll[t] is the loss after t updates; log_likelihood[t - 1] is that of halting at t."""
    optimizee = problems("quadratic", 3)
    rollout = unroll(RULES["sgd"](lr=0.01), optimizee, 4)
    torch.testing.assert_close(rollout.nll[0], optimizee.nll(optimizee.theta0))
    torch.testing.assert_close(rollout.nll[4], optimizee.nll(rollout.params))
    torch.testing.assert_close(rollout.log_likelihood[0], -rollout.nll[1])
    assert len(rollout.log_likelihood) == 4


def test_a_drawn_horizon_unrolls_to_its_maximum() -> None:
    rollout = unroll(RULES["sgd"](), problems("quadratic", 3), torch.tensor([2, 5, 1]))
    assert rollout.nll.shape == (6, 3)
    assert rollout.horizon is not None
    assert rollout.horizon.tolist() == [2, 5, 1]


@dataclass(frozen=True)
class Cliff(Optimizee):
    """-|theta|^2, NaN further than ``edge`` from 1: problems fall off one by one."""

    edge: Tensor

    def nll(self, params: Params) -> Tensor:
        size = params["theta"].square().sum(-1)
        return torch.where((params["theta"] - 1).square().sum(-1) > self.edge, torch.nan, -size)


def test_divergence_is_data() -> None:
    """Inf from then on, no NaN anywhere else, and gradients of the others as if the diverged were not there."""
    torch.manual_seed(0)
    rule = RULES[LEARNED](hidden_size=4, scale=20.0)
    optimizee = Cliff({"theta": torch.ones(3, 2)}, edge=torch.tensor([1e9, 0.5, 1e9]))
    whole = Unrolling(through_path=True)
    rollout = unroll(rule, optimizee, 8, whole)
    assert bool(rollout.nll[:, [0, 2]].isfinite().all())
    fallen = rollout.nll[:, 1].isinf()
    assert bool(fallen[-1])
    assert bool((fallen.long().diff() >= 0).all())
    assert bool(rollout.features.isfinite().all())
    kept = rollout.finite()
    assert kept.nll.shape == (9, 2)
    ours = gradients(kept.nll.sum() + kept.features.sum(), rule)
    alone = unroll(rule, optimizee.select(torch.tensor([0, 2])), 8, whole)
    for name, gradient in gradients(alone.nll.sum() + alone.features.sum(), rule).items():
        torch.testing.assert_close(ours[name], gradient)


def test_no_graph_without_gradient_mode() -> None:
    with torch.no_grad():
        rollout = unroll(RULES[LEARNED](), problems("quadratic", 2), 3)
    assert not rollout.nll.requires_grad
    assert not unroll(RULES["adam"](), problems("quadratic", 2), 3).nll.requires_grad


def test_features_step_by_step_are_those_of_the_whole_unroll(double: None) -> None:
    signals = torch.randn(9, 4, 3).exp()
    whole = progress.of_unroll(signals)
    memory = progress.init(torch.zeros(3))
    for row, expected in zip(signals, whole, strict=True):
        seen, memory = progress.take_in(memory, row)
        torch.testing.assert_close(seen, expected)


def test_features_of_a_huge_loss_are_finite() -> None:
    """Squares of gradients overflow long before the loss does."""
    loss, grads = torch.full((1,), 1e30), {"theta": torch.full((1, 2), 1e30)}
    _, memory = progress.take_in(progress.init(torch.zeros(1)), progress.measure(torch.ones(1), grads, grads))
    seen, _ = progress.take_in(memory, progress.measure(loss, grads, grads))
    assert bool(seen.isfinite().all())
    assert float(seen.abs().max()) <= 100
