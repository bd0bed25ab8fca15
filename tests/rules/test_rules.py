from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from probact.problems.base import Optimizee, value_and_grad
from probact.rules.base import RULES
from probact.rules.hand_designed import HandDesigned
from probact.rules.lstm import LSTMCell, log_and_sign
from probact.support.trees import flatten, unflatten
from probact.testing import check_rule
from probact.unrolling.rollout import unroll
from tests.helpers.checks import problems

TORCH: dict[str, Any] = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "nag": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.01}),
}
HAND_DESIGNED = [name for name in RULES if issubclass(RULES[name], HandDesigned)]


@pytest.mark.parametrize("name", list(TORCH))
@pytest.mark.parametrize("family", ["quadratic", "student-t", "digits"])
def test_golden_torch_optim(name: str, family: str, double: None) -> None:
    """50 steps equal to torch.optim's on each problem, to 1e-6."""
    optimizee = problems(family, 2)
    ours = unroll(RULES[name](lr=0.02), optimizee, 50)
    kind, options = TORCH[name]
    for problem in range(2):
        alone = optimizee.select(torch.tensor([problem]))
        params = {n: p.clone() for n, p in alone.theta0.items()}
        leaves = [nn.Parameter(p) for p in params.values()]
        optimizer = kind(leaves, lr=0.02, **options)
        for step in range(50):
            current = {n: leaf.detach() for n, leaf in zip(params, leaves, strict=True)}
            _, grads = value_and_grad(lambda p, alone=alone, step=step: alone.loss(p, step), current)
            for leaf, grad in zip(leaves, grads.values(), strict=True):
                leaf.grad = grad
            optimizer.step()
        for (n, p), leaf in zip(ours.params.items(), leaves, strict=True):
            torch.testing.assert_close(
                p[problem], leaf.detach()[0], rtol=1e-6, atol=1e-6, msg=lambda m, n=n: f"{n}: {m}"
            )


@pytest.mark.parametrize("name", HAND_DESIGNED)
def test_hand_designed_rules_refuse_a_bad_rate(name: str) -> None:
    with pytest.raises(ValueError, match=rf"rule '{name}': expected lr > 0, got -1"):
        RULES[name](lr=-1)


@pytest.mark.parametrize("family", ["quadratic", "regression"])
def test_lbfgs_is_torchs(family: str, double: None) -> None:
    """50 iterations equal to torch.optim.LBFGS without line search, whose first step is min(1, 1 / |g|_1) g."""
    optimizee = problems(family, 3)
    for problem in range(3):
        alone = optimizee.select(torch.tensor([problem]))
        theta = nn.Parameter(alone.theta0["theta"].clone())
        reference = torch.optim.LBFGS(
            [theta], lr=1, max_iter=50, max_eval=10_000, history_size=10, tolerance_grad=0, tolerance_change=0
        )

        def closure(theta: nn.Parameter = theta, alone: Optimizee = alone) -> torch.Tensor:
            loss = alone.nll({"theta": theta}).sum()
            (theta.grad,) = torch.autograd.grad(loss, theta)
            return loss

        _, grads = value_and_grad(alone.nll, alone.theta0)
        first = min(1.0, 1 / float(grads["theta"].abs().sum()))
        reference.step(closure)
        ours = unroll(RULES["lbfgs"](lr=first), alone, 50)
        # unrolling 50 steps amplifies rounding: compare the losses, which is what is reported
        expected = alone.nll({"theta": theta.detach()})
        torch.testing.assert_close(ours.nll[50], expected, rtol=1e-5, atol=1e-5)


def test_lbfgs_first_iterates_are_torchs(double: None) -> None:
    alone = problems("regression", 1)
    theta = nn.Parameter(alone.theta0["theta"].clone())
    _, grads = value_and_grad(alone.nll, alone.theta0)
    rule = RULES["lbfgs"](lr=min(1.0, 1 / float(grads["theta"].abs().sum())))
    for num_steps in (1, 2, 5, 12):
        theta = nn.Parameter(alone.theta0["theta"].clone())
        reference = torch.optim.LBFGS(
            [theta], max_iter=num_steps, max_eval=999, history_size=3, tolerance_grad=0, tolerance_change=0
        )

        def closure(theta: nn.Parameter = theta) -> torch.Tensor:
            loss = alone.nll({"theta": theta}).sum()
            (theta.grad,) = torch.autograd.grad(loss, theta)
            return loss

        reference.step(closure)
        rule.memory = 3
        torch.testing.assert_close(unroll(rule, alone, num_steps).params["theta"], theta.detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("powersign", lambda g, agree: math.e if agree else 1 / math.e),
        ("addsign", lambda g, agree: 2.0 if agree else 0.0),
        ("clipsign", lambda g, agree: (math.e if agree else 1 / math.e) + max(-1e-4, min(1e-4, g))),
    ],
)
def test_sign_rules_by_hand(name: str, factor: Any, double: None) -> None:
    """Bello et al. 2017, entry by entry."""
    rule = RULES[name](lr=0.1)
    theta, mean = torch.zeros(1, 4), [0.0] * 4
    state = rule.init({"theta": theta})
    for _ in range(6):
        grad = torch.randn(1, 4)
        step = rule.step({"theta": grad}, state, {"theta": theta}, torch.zeros(1))
        for i, g in enumerate(grad[0].tolist()):
            mean[i] = 0.9 * mean[i] + 0.1 * g
            expected = -0.1 * factor(g, mean[i] * g > 0) * g
            assert float(step.update["theta"][0, i]) == pytest.approx(expected)
        state = step.state


def test_adamsign_is_adams_step_times_the_agreement(double: None) -> None:
    """e where the gradient has the sign of the first moment, 1/e where not."""
    ours, adam = RULES["adamsign"](lr=0.1), RULES["adam"](lr=0.1)
    theta = {"theta": torch.zeros(1, 4)}
    state, reference, mean = ours.init(theta), adam.init(theta), torch.zeros(1, 4)
    for _ in range(6):
        grad = torch.randn(1, 4)
        step, plain = (
            rule.step({"theta": grad}, memory, theta, torch.zeros(1))
            for rule, memory in ((ours, state), (adam, reference))
        )
        mean = 0.9 * mean + 0.1 * grad
        factor = torch.where(mean * grad > 0, math.e, 1 / math.e)
        torch.testing.assert_close(step.update["theta"], factor * plain.update["theta"])
        state, reference = step.state, plain.state


def test_dropsign_is_powersign_with_holes(double: None) -> None:
    """Dropped entries do not move, the others as PowerSign's; a share ``drop`` is dropped, anew at every step."""
    rule, whole = RULES["dropsign"](lr=0.1, drop=0.3), RULES["powersign"](lr=0.1)
    theta = {"theta": torch.zeros(2, 500)}
    state, reference, holes = rule.init(theta), whole.init(theta), []
    for _ in range(20):
        grad = {"theta": torch.randn(2, 500)}
        step, full = rule.step(grad, state, theta, torch.zeros(2)), whole.step(grad, reference, theta, torch.zeros(2))
        dropped = step.update["theta"] == 0
        expected = full.update["theta"].masked_fill(dropped, 0.0)
        torch.testing.assert_close(step.update["theta"], expected)
        assert torch.equal(dropped[0], dropped[1])
        holes.append(dropped[0])
        state, reference = step.state, full.state
    share = torch.stack(holes).double().mean(0)
    assert float(share.mean()) == pytest.approx(0.3, abs=4 * (0.21 / 10_000) ** 0.5)
    assert float(share.std()) < 0.2  # not the same coordinates every time
    with pytest.raises(ValueError, match=r"drop >= 0 and < 1, got"):
        RULES["dropsign"](drop=1.0)


@pytest.mark.parametrize("compiling", [False, True])
def test_lstm_cell_is_torchs(compiling: bool, double: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    ours, theirs = LSTMCell(3, 5), nn.LSTMCell(3, 5)
    # torch orders the gates input, forget, cell, output; ours puts the cell last
    order = torch.cat([torch.arange(0, 10), torch.arange(15, 20), torch.arange(10, 15)])
    with torch.no_grad():
        stacked = torch.cat([theirs.weight_ih, theirs.weight_hh], 1)
        ours.weight.copy_(stacked[order])
        ours.bias.copy_((theirs.bias_ih + theirs.bias_hh)[order].unsqueeze(1))
    inputs, hidden, cell = torch.randn(7, 3), torch.randn(7, 5), torch.randn(7, 5)
    for mine, reference in zip(ours(inputs.T, hidden.T, cell.T), theirs(inputs, (hidden, cell)), strict=True):
        torch.testing.assert_close(mine.T, reference)


@pytest.mark.parametrize("recomputed_above", [0, 10**6])
def test_lstm_cell_has_the_right_derivative(
    recomputed_above: int, double: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written out by hand, gates kept or worked out again, against finite differences; inputs with and without."""
    monkeypatch.setattr("probact.rules.lstm.RECOMPUTED_ABOVE", recomputed_above)
    cell = LSTMCell(2, 3)
    for wanted in (True, False):
        inputs = torch.randn(2, 4, requires_grad=wanted)
        state = [torch.randn(3, 4, requires_grad=True) for _ in range(2)]
        weights = [weight.detach().requires_grad_() for weight in cell.parameters()]

        def stacked(*tensors: Tensor) -> tuple[Tensor, ...]:
            named = dict(zip(("weight", "bias"), tensors[3:], strict=True))
            return torch.func.functional_call(cell, named, tensors[:3])

        assert torch.autograd.gradcheck(stacked, (inputs, *state, *weights))


def test_lstm_starts_remembering() -> None:
    rule = RULES["lstm"](hidden_size=6)
    for cell in rule.cells:
        assert cell.bias[6:12].eq(1).all()
        assert cell.bias[:6].eq(0).all()
        assert cell.bias[12:].eq(0).all()
    assert rule.output.bias is None


def test_log_and_sign_at_the_seam() -> None:
    """Andrychowicz et al. 2016, appendix A, with p = 10: both branches meet at e^-10."""
    edge = float(torch.exp(torch.tensor(-10.0)))
    g = torch.tensor([1.0, -1.0, edge * 1.0001, edge * 0.9999, 0.0, -edge / 2, 100.0])
    log, sign = log_and_sign(g)
    torch.testing.assert_close(log, torch.tensor([0.0, 0.0, -1.0, -1.0, -1.0, -1.0, 0.4605]), rtol=0, atol=1e-4)
    torch.testing.assert_close(sign, torch.tensor([1.0, -1.0, 1.0, 1.0, 0.0, -0.5, 1.0]), rtol=0, atol=1e-3)


def test_lstm_is_coordinatewise(double: None) -> None:
    """Permuting the coordinates permutes the updates: shared weights, a state for each."""
    rule = RULES["lstm"]()
    theta = {"theta": torch.randn(2, 6)}
    permutation = torch.randperm(6)
    state, permuted = rule.init(theta), rule.init(theta)
    for _ in range(3):
        grads = torch.randn(2, 6)
        step = rule.step({"theta": grads}, state, theta, torch.zeros(2))
        other = rule.step({"theta": grads[:, permutation]}, permuted, theta, torch.zeros(2))
        torch.testing.assert_close(other.update["theta"], step.update["theta"][:, permutation])
        torch.testing.assert_close(other.features, step.features)
        state, permuted = step.state, other.state
    assert step.features.shape == (2, rule.num_features)


def test_flatten_round_trip() -> None:
    params = {"a": torch.randn(3, 2, 4), "b": torch.randn(3, 5)}
    flat = flatten(params)
    assert flat.shape == (3, 13)
    for name, tensor in unflatten(flat, params).items():
        assert torch.equal(tensor, params[name])


def test_lstm_refuses_no_units() -> None:
    with pytest.raises(ValueError, match="expected hidden_size >= 1 and < 10000, got 0"):
        RULES["lstm"](hidden_size=0)


@pytest.mark.parametrize("name", list(RULES))
def test_conformance(name: str) -> None:
    check_rule(RULES[name])


DECAYING = ("adamw", "adamw-cosine", "muon", "muon-cosine")


@pytest.mark.parametrize("name", [name for name in HAND_DESIGNED if name not in DECAYING])
def test_zero_gradient_moves_a_hand_designed_rule_nowhere(name: str) -> None:
    rule = RULES[name]()
    params = {"theta": torch.randn(3, 4)}
    step = rule.step({"theta": torch.zeros(3, 4)}, rule.init(params), params, torch.zeros(3))
    assert float(step.update["theta"].abs().max()) == 0.0
