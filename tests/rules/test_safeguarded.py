from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from probact.problems.base import Optimizee
from probact.problems.linear import LinearModel, gaussian_nll
from probact.rules.base import RULES, Step, UpdateRule
from probact.rules.safeguarded import Safeguarded
from probact.stopping.online import run_until_stopped
from probact.stopping.rules import GradientNorm
from probact.support.trees import Params, State
from probact.unrolling.rollout import Rollout, unroll
from probact.unrolling.walk import Unrolling
from tests.helpers.checks import assert_no_leak, problems


def stable_rate(optimizee: Optimizee) -> float:
    """2 / the largest curvature: above it gradient descent diverges on some problem."""
    assert isinstance(optimizee, LinearModel)
    curvature = torch.linalg.eigvalsh(optimizee.design.mT @ optimizee.design).max()
    return 2 / float(curvature * (1 if optimizee.noise is gaussian_nll else 2))


@pytest.mark.parametrize("family", ["quadratic", "regression"])
@pytest.mark.parametrize("excess", [1.5, 1e6])
def test_a_rate_far_too_large_still_descends(family: str, excess: float) -> None:
    """Gradient descent at a multiple of its stable rate: below its start after 500 steps, and still improving."""
    optimizee = problems(family, 8)
    rate = stable_rate(optimizee)
    assert not bool(unroll(RULES["sgd"](lr=100 * rate), optimizee, 100).nll[-1].isfinite().all())
    nll = unroll(Safeguarded(RULES["sgd"](lr=excess * rate)), optimizee, 500).nll
    optimum = optimizee.optimum()
    assert optimum is not None
    above = nll.cummin(0).values - optimum
    assert bool((nll[500] < nll[0]).all())
    assert bool((nll[500] <= nll.min(0).values + 0.01 * nll[0]).all())
    assert bool((above[500] < 0.99 * above[100]).all())
    assert bool((above[100] < 0.5 * above[0]).all())


@pytest.mark.parametrize(
    ("name", "options", "family"),
    [("lstm", {}, "regression"), ("nag", {"lr": 1.0}, "regression"), ("lbfgs", {"lr": 1.0}, "student-t")],
)
def test_nothing_diverges_at_five_horizons(name: str, options: dict[str, float], family: str) -> None:
    torch.manual_seed(2)  # untrained, this LSTM ends at 1e5
    optimizee = problems(family, 8)
    rule = RULES[name](**options)
    with torch.no_grad():
        plain, guarded = (unroll(worn, optimizee, 500).nll for worn in (rule, Safeguarded(rule)))
    assert bool((plain[500] > 2 * plain[0]).any())
    assert bool((guarded[500] <= 1.25 * guarded[0]).all())


def test_a_loss_that_is_not_finite_is_rescued() -> None:
    """A barrier, -log(1 - theta^2): beyond it the loss is NaN, and the first steps lead there."""

    def barrier(residual: Tensor) -> Tensor:
        return -torch.log1p(-residual.square()).sum(-1)

    start, eye = 0.5 * torch.ones(3, 2), torch.eye(2).expand(3, 2, 2)
    optimizee = LinearModel({"theta": start}, eye, torch.zeros(3, 2), torch.zeros(3), barrier)
    assert bool(unroll(RULES["sgd"](lr=50), optimizee, 100).nll[1:].isinf().all())
    rollout = unroll(Safeguarded(RULES["sgd"](lr=50)), optimizee, 100)
    assert bool(rollout.nll[1].isinf().all())
    assert bool((rollout.nll[100] < 0.01 * rollout.nll[0]).all())
    assert bool(rollout.features.isfinite().all())


@pytest.mark.parametrize(
    ("family", "name", "rate"),
    [("regression", "adam", 0.3), ("regression", "nag", 0.03), ("digits", "adam", 0.03), ("digits", "nag", 0.3)],
)
def test_a_tuned_rule_is_not_changed_by_a_bit(family: str, name: str, rate: float) -> None:
    optimizee = problems(family, 6)
    plain, guarded = (unroll(rule, optimizee, 100) for rule in (RULES[name](rate), Safeguarded(RULES[name](rate))))
    assert torch.equal(plain.nll, guarded.nll)
    assert torch.equal(plain.features, guarded.features)


NOISES = [
    torch.distributions.Normal(0.0, 1.0),
    torch.distributions.Exponential(1.0),
    torch.distributions.LogNormal(0.0, 1.0),
]


def noisy_descents(noise: torch.distributions.Distribution, num: int = 200) -> tuple[Safeguarded, Any, Tensor]:
    """After 1,000 noisy losses that no step changes: rule, state, and how often each descent was led back."""
    torch.manual_seed(0)
    rule, theta = Safeguarded(RULES["sgd"](lr=1.0)), {"theta": torch.zeros(num, 1)}
    state: Any = rule.init(theta)
    ways_back = torch.zeros(num)
    for step in range(1000):
        loss = 10 + 10 * 0.97**step + noise.sample((num,))
        state = rule.step({"theta": torch.ones(num, 1)}, state, theta, loss).state
        ways_back += state.was_lost
    return rule, state, ways_back


@pytest.mark.parametrize("noise", NOISES)
def test_noise_of_minibatches_is_no_loss(noise: torch.distributions.Distribution) -> None:
    """A way back in 5,000 steps at most, and no step is shorter for it in the end."""
    _, state, ways_back = noisy_descents(noise)
    assert float(ways_back.mean()) < 0.2
    assert float((state.shortening == 1).float().mean()) > 0.98


@pytest.mark.parametrize("noise", NOISES)
def test_under_noise_too_a_rise_that_the_steps_made_is_a_loss(noise: torch.distributions.Distribution) -> None:
    """The loss is 30 standard deviations higher wherever theta is not at the best iterate."""
    rule, state, _ = noisy_descents(noise)
    params = {"theta": state.best_params["theta"] + 1.0}
    was_lost = torch.zeros(200).bool()
    for _ in range(10):
        off = (params["theta"] - state.best_params["theta"]).abs().squeeze(1) > 0
        drawn = torch.where(off, 40.0, 10.0) + noise.sample((200,))
        update, state, _ = rule.step({"theta": torch.zeros(200, 1)}, state, params, drawn)
        params = {"theta": params["theta"] + update["theta"]}
        was_lost |= state.was_lost
    assert bool(was_lost.all())
    assert torch.equal(params["theta"], state.best_params["theta"])


@pytest.mark.parametrize("rise", [10.0, 1e3, 1e6])
def test_another_task_is_learned(rise: float) -> None:
    """From step 60 on the optimum is elsewhere, and where the old one was the loss is higher by ``rise``."""
    rule, goal = Safeguarded(RULES["sgd"](lr=0.1)), rise**0.5
    params = {"theta": torch.full((1, 1), 1.0)}
    state = rule.init(params)
    for step in range(240):
        off = params["theta"] - goal * (step >= 60)
        update, state, _ = rule.step({"theta": 2 * off}, state, params, off.square().sum(1) + 0.1)
        params = {"theta": params["theta"] + update["theta"]}
    assert float((params["theta"] - goal).square()) < 0.1 * rise


@pytest.mark.parametrize(("family", "rate"), [("regression", 0.3), ("digits", 300.0)])
def test_batched_is_one_by_one(family: str, rate: float, double: None) -> None:
    rule = Safeguarded(RULES["sgd"](rate))
    optimizee = problems(family, 3)
    assert not torch.equal(unroll(rule, optimizee, 12).nll, unroll(rule.rule, optimizee, 12).nll)
    assert_no_leak(lambda alone: unroll(rule, alone, 12), optimizee)


def test_gradients_reach_the_wrapped_rule(double: None) -> None:
    """Of a rule that is lost now and then: finite, and the same when steps are worked out again."""
    torch.manual_seed(2)
    lstm = RULES["lstm"](hidden_size=3, num_layers=1, scale=100.0)
    rule, optimizee = Safeguarded(lstm), problems("regression", 3)

    def gradient(**options: Any) -> tuple[Rollout, Tensor]:
        rollout = unroll(rule, optimizee, 12, Unrolling(through_path=True, **options))
        return rollout, torch.autograd.grad(rollout.nll.sum(), lstm.output.weight)[0]

    rollout, whole = gradient()
    assert bool(whole.isfinite().all())
    torch.testing.assert_close(gradient(recompute=True)[1], whole)
    assert not torch.equal(rollout.nll, unroll(lstm, optimizee, 12).nll)
    assert rollout.features.shape == unroll(lstm, optimizee, 12).features.shape


class Jump(UpdateRule):
    """Some steps down, then one far up, w times a constant each."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.1))

    def init(self, params: Params) -> State:
        return params["theta"].new_zeros(len(params["theta"]), dtype=torch.long)

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        factor = torch.tensor([-1.0, -2.0, -4.0, 5000.0, -1.0])[state % 5]
        return Step({"theta": self.w * factor.unsqueeze(-1)}, state + 1, loss.new_empty(len(loss), 0))


def test_the_gradient_is_the_derivative(double: None) -> None:
    """By differences, through ways back and shortened steps, of losses whose own gradient is constant."""

    def linear(residual: Tensor) -> Tensor:
        return 10 + residual.sum(-1)

    one = torch.ones(1, 1)
    optimizee = LinearModel({"theta": 0 * one}, one.unsqueeze(0), 0 * one, torch.zeros(1), linear)
    jump = Jump()
    rule = Safeguarded(jump)

    def total(w: float) -> float:
        with torch.no_grad():
            jump.w.fill_(w)
            return float(unroll(rule, optimizee, 14).nll.sum())

    difference = (total(0.1 + 1e-6) - total(0.1 - 1e-6)) / 2e-6
    total(0.1)
    rollout = unroll(rule, optimizee, 14, Unrolling(through_path=True))
    assert int((rollout.nll.diff(dim=0) < -100).sum()) >= 2, "it is to go back more than once"
    (gradient,) = torch.autograd.grad(rollout.nll.sum(), [jump.w])
    assert float(gradient) == pytest.approx(difference, rel=1e-6)


def test_problems_may_leave_the_batch(double: None) -> None:
    optimizee = problems("regression", 12)
    rule = Safeguarded(RULES["sgd"](lr=0.2))
    compact, whole = (
        run_until_stopped(rule, optimizee, 60, GradientNorm(-0.5), compact=compact) for compact in (True, False)
    )
    assert compact.step.tolist() == whole.step.tolist()
    assert compact.steps_computed < whole.steps_computed
    torch.testing.assert_close(compact.nll, whole.nll)
