"""An exact loss is told from a noisy one by the steps that a rule makes anyway."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from probact.rules.base import RULES
from probact.rules.exactness import ENOUGH, Exactness, is_visible, off
from probact.rules.safeguarded import Safeguarded
from tests.helpers.checks import problems

ONE = torch.ones(1)


def test_a_quadratic_changes_as_its_gradients_foresee_however_long_the_step() -> None:
    torch.manual_seed(0)
    root, theta, step = torch.randn(5, 5).double(), torch.randn(5).double(), 100 * torch.randn(5).double()
    curvature = root @ root.mT

    def loss(at: Tensor) -> Tensor:
        return 0.5 * at @ curvature @ at

    slopes = [(curvature @ at) @ step for at in (theta, theta + step)]
    assert float(off(loss(theta + step) - loss(theta), (slopes[0] + slopes[1]) / 2, ONE)) < 1e-6 * float(loss(step))


@pytest.mark.parametrize(
    ("change", "evidence", "exact", "expected"),
    [
        (-1.05, 0.0, False, 1.0),
        (-1.2, 2.0, False, 2.0),
        (-1.5, 2.0, False, 1.0),
        (-1.5, 5.0, True, 5.0),  # a long step may do that
        (-2.5, 5.0, True, 2.0),
        (1.0, 3.0, True, 0.0),
        (-1.0, 5.0, True, 5.0),
        (-1e-7, 3.0, True, 3.0),  # of the slopes as well: rounding
    ],
)
def test_evidence_of_one_step(change: float, evidence: float, exact: bool, expected: float) -> None:
    """Slopes -1 at both ends, of losses of about 10."""
    slope = -ONE if abs(change) > 1e-3 else -1e-6 * ONE
    before = Exactness(10 * ONE, slope, evidence * ONE, torch.tensor([exact]))
    after = before.take_in((10 + change) * ONE, 10 * ONE, slope, torch.tensor([True]))
    assert float(after.evidence) == expected
    assert bool(after.is_exact) == (expected > 0 and (exact or expected >= ENOUGH))
    unseen = before.take_in((10 + change) * ONE, 10 * ONE, slope, torch.tensor([False]))
    assert float(unseen.evidence) == evidence


def test_what_may_be_rounding_is_not_visible() -> None:
    amount = torch.tensor([1e-3, 1e-5, 1e-5])
    loss, first = torch.tensor([1.0, 1.0, 1e-4]), torch.tensor([1.0, 1.0, 1e4])
    assert is_visible(amount, loss, loss, first).tolist() == [True, False, False]


@pytest.mark.parametrize(("name", "rate"), [("sgd", 1e-3), ("adam", 0.05), ("rmsprop", 0.01)])
@pytest.mark.parametrize("family", ["regression", "digits"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_safeguard_finds_out(family: str, name: str, rate: float, dtype: torch.dtype) -> None:
    """With all data shown losses are taken for exact, and with noise upon them never."""
    optimizee = problems(family, 6).to(dtype)
    found = {}
    for noise in (0.0, 0.1):
        rule, theta = Safeguarded(RULES[name](rate)).to(dtype), optimizee.theta0
        state, jitter = rule.init(theta), torch.Generator().manual_seed(0)
        shares = []
        for _ in range(30):
            theta = {key: value.detach().requires_grad_() for key, value in theta.items()}
            nll = optimizee.nll(theta)
            grads = dict(zip(theta, torch.autograd.grad(nll.sum(), list(theta.values())), strict=True))
            wrong = noise * nll.detach() * torch.randn(nll.shape, generator=jitter).to(dtype)
            with torch.no_grad():
                step = rule.step(grads, state, theta, nll.detach() + wrong)
            theta, state = {key: value + step.update[key] for key, value in theta.items()}, step.state
            shares.append(float(state.exactness.is_exact.double().mean()))
        found[noise] = shares
    assert found[0.0][-1] == 1.0
    assert max(found[0.1]) == 0.0


def test_the_best_is_the_lowest_where_losses_are_exact() -> None:
    """A rate at which gradient descent jumps about: the loss at theta* is the lowest seen, to the bit."""
    optimizee = problems("student-t", 8)
    rule, theta = Safeguarded(RULES["adam"](0.5)), optimizee.theta0
    state, seen = rule.init(theta), []
    for _ in range(120):
        theta = {key: value.detach().requires_grad_() for key, value in theta.items()}
        nll = optimizee.nll(theta)
        grads = dict(zip(theta, torch.autograd.grad(nll.sum(), list(theta.values())), strict=True))
        with torch.no_grad():
            step = rule.step(grads, state, theta, nll.detach())
        seen.append(nll.detach())
        theta, state = {key: value + step.update[key] for key, value in theta.items()}, step.state
    exact = state.exactness.is_exact
    assert int(exact.sum()) >= 6
    torch.testing.assert_close(optimizee.nll(state.best_params)[exact], torch.stack(seen).min(0).values[exact])
    assert torch.equal(state.bar[exact], state.lowest[exact])
