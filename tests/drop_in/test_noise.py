"""Noise and change are no harm to a loop, and a loop ends at the best that it has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from probact import Budget, LearnedOptimizer
from tests.helpers.loops import Regression, descend

NAMES = ["subspace-mlp", "subspace-general", "subspace-regression"]
FOR_NETWORKS = NAMES[:2]


def pairs(names: list[str], *values: Any) -> list[Any]:
    """All pairs; those beside the diagonal are slow."""
    return [
        pytest.param(name, value, marks=[] if i % len(names) == j else [pytest.mark.slow])
        for i, value in enumerate(values)
        for j, name in enumerate(names)
    ]


def shipped(model: nn.Module, name: str, stop: Budget | None = None) -> LearnedOptimizer:
    return LearnedOptimizer.from_pretrained(model.parameters(), name, stop=stop)


def network(num_outputs: int, seed: int) -> tuple[nn.Module, Tensor]:
    """A small network, and inputs for it."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, num_outputs))
    return model, torch.randn(128, 6)


def count() -> Iterator[int]:
    return iter(range(10**9))


@pytest.mark.parametrize(("name", "batch"), pairs(NAMES, 1, 4, 16))
def test_minibatches_do_not_stop_it(name: str, batch: int) -> None:
    """After 150 steps on noisy labels it still moves, and is not far above where it began."""
    torch.manual_seed(5)
    inputs, model = torch.randn(256, 6), nn.Linear(6, 3)
    labels = (inputs @ torch.randn(6, 3) + 2 * torch.randn(256, 3)).argmax(1)

    def loss_of() -> Tensor:
        rows = torch.randint(256, (batch,))
        return functional.cross_entropy(model(inputs[rows]), labels[rows])

    optimizer = shipped(model, name)
    descend(optimizer, loss_of, 130)
    steps = []
    for _ in range(20):
        before = model.weight.detach().clone()
        descend(optimizer, loss_of, 1)
        steps.append(float((model.weight.detach() - before).norm()))
    assert sum(steps) / 20 > 1e-4
    assert sum(step > 0 for step in steps) >= 5


@pytest.mark.parametrize(("name", "change"), pairs(NAMES, (40, -2.0), (60, 4.0), (80, 0.0)))
def test_another_task_is_learned(name: str, change: tuple[int, float]) -> None:
    change_at, factor = change
    loop, step = Regression(name), count()

    def loss_of() -> Tensor:
        goal = loop.inputs.sum(1, keepdim=True) * (1.0 if next(step) < change_at else factor)
        return (loop.model(loop.inputs) - goal).square().mean() + 0.1

    losses = descend(loop.optimizer, loss_of, change_at + 100)
    assert min(losses[-20:]) < 0.1 * losses[change_at]


@pytest.mark.parametrize(("name", "factor"), pairs(FOR_NETWORKS, 5.0, 100.0, 1000.0))
def test_two_losses_that_take_turns_both_fall(name: str, factor: float) -> None:
    torch.manual_seed(4)
    inputs, model, step = torch.randn(64, 5), nn.Linear(5, 2), count()

    def loss_of() -> Tensor:
        task = next(step) % 2
        return (model(inputs)[:, task] - inputs.sum(1)).square().mean() * (1.0, factor)[task]

    losses = descend(shipped(model, name), loss_of, 120)
    assert min(losses[-10::2]) < 0.5 * losses[0]
    assert min(losses[-9::2]) < 0.5 * losses[1]


@pytest.mark.parametrize(("at", "bad"), [(4, float("nan")), (25, float("inf")), (40, -float("inf"))])
def test_one_bad_batch_costs_no_more_than_its_step(bad: float, at: int) -> None:
    def end(broken: bool) -> float:
        model, inputs = network(3, seed=2)
        labels, step = (inputs @ torch.randn(6, 3)).argmax(1), count()

        def loss_of() -> Tensor:
            loss = functional.cross_entropy(model(inputs), labels)
            return loss * bad if next(step) == at and broken else loss

        return min(descend(shipped(model, "subspace-mlp"), loss_of, 60)[-5:])

    assert end(True) < 1.5 * end(False)


@pytest.mark.parametrize(("name", "steps"), pairs(NAMES, 30, 80, 150))
def test_a_loop_ends_at_the_best_it_has_seen(name: str, steps: int) -> None:
    model, inputs = network(1, seed=steps)
    targets = inputs @ torch.randn(6, 1)

    def loss_of() -> Tensor:
        loss: Tensor = (model(inputs) - targets - targets.square()).square().mean()
        return loss

    optimizer, losses = shipped(model, name, Budget(steps)), []
    while not optimizer.should_stop():
        losses += descend(optimizer, loss_of, 1)
    assert loss_of().item() <= 1.1 * min(losses)


@pytest.mark.parametrize(("name", "norm"), pairs(NAMES, 0.01, 1.0, 30.0))
def test_clipped_gradients_do_no_harm(name: str, norm: float) -> None:
    model, inputs = network(2, seed=1)
    targets = 8 * inputs @ torch.randn(6, 2)
    optimizer, losses = shipped(model, name), []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (model(inputs) - targets).square().mean()
        loss.backward()
        losses.append(loss.item())
        nn.utils.clip_grad_norm_(model.parameters(), norm)
        optimizer.step(loss=loss)
    assert max(losses) < 10 * losses[0]


def changed(change: Callable[[Tensor], Tensor], name: str) -> tuple[float, float]:
    """The loss of a regression before and after 60 steps on ``change`` of it; the least of the last few."""
    loop = Regression(name)
    first = loop.loss().item()
    descend(loop.optimizer, lambda: change(loop.loss()), 50)
    seen = []
    for _ in range(10):
        descend(loop.optimizer, lambda: change(loop.loss()), 1)
        seen.append(loop.loss().item())
    return first, min(seen)


@pytest.mark.parametrize(("name", "constant"), pairs(NAMES, 100.0, -1000.0, 1e4))
def test_a_constant_in_the_loss_does_no_harm(name: str, constant: float) -> None:
    first, last = changed(lambda loss: loss + constant, name)
    assert last < first


@pytest.mark.parametrize(("name", "unit"), pairs(NAMES, 2.0**66, 2.0**40, 2.0**-66))
def test_the_unit_of_the_loss_changes_nothing(name: str, unit: float) -> None:
    first, plain = changed(lambda loss: loss, name)
    assert changed(lambda loss: unit * loss, name)[1] <= max(3 * plain, 1e-4 * first)


@pytest.mark.parametrize(("name", "of_start"), pairs(NAMES, 1.0, 0.999, 1.001))
def test_a_first_loss_near_0_does_not_stop_all_motion(name: str, of_start: float) -> None:
    """The loss less its start, or nearly so: 0 at first, negative at the optimum."""
    start = of_start * Regression(name).loss().item()
    first, last = changed(lambda loss: loss - start, name)
    assert last < 0.5 * first


SHIPPED = ["general", "lstm-general", "lstm-mlp", "lstm-regression", *NAMES]


@pytest.mark.parametrize(("name", "dtype"), pairs(SHIPPED, torch.float32, torch.float64))
def test_a_full_batch_ends_at_the_lowest_loss_seen(name: str, dtype: torch.dtype) -> None:
    """However large its spikes are: exact losses have no noise that could excuse them."""
    torch.manual_seed(0)
    inputs = torch.randn(100, 8, dtype=dtype)
    goals = inputs @ torch.randn(8, 1, dtype=dtype)
    goals = goals + goals.square()
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1)).to(dtype)

    def loss_of() -> Tensor:
        return (model(inputs) - goals).square().mean()

    optimizer = shipped(model, name, Budget(150))
    losses = []
    while not optimizer.should_stop():
        losses += descend(optimizer, loss_of, 1)
    assert float(loss_of().detach()) <= 1.0001 * min(losses)


@pytest.mark.parametrize("name", ["general", *FOR_NETWORKS])
def test_dropout_is_noise_though_all_data_are_shown(name: str) -> None:
    """The first steps may look exact, as they are far larger than the noise."""
    model, inputs = network(4, seed=1)
    model.insert(2, nn.Dropout(0.5))
    labels = torch.randint(4, (128,))
    optimizer = shipped(model, name)
    seen = []
    for _ in range(80):
        descend(optimizer, lambda: functional.cross_entropy(model(inputs), labels), 1)
        guard: Any = optimizer._standing.cohorts[0].carry.state
        seen.append(bool(guard.exactness.is_exact))
    assert sum(seen[-40:]) <= 4
