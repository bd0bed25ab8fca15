"""Formulas of few numbers are the same with plain numbers as with tensors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from probact.rules.exactness import Exactness
from probact.rules.plan import Plan
from probact.rules.safeguarded import Guard, _watch
from probact.rules.tensorwise.decay import _share
from probact.rules.tensorwise.memory import looks_at, noise_of
from probact.rules.tensorwise.signals import loss_means
from probact.support.light import lightly
from probact.support.trees import State, leaves


def alike(function: object, *given: State) -> None:
    """Worked out both ways, tensors of one form and type come out."""
    assert callable(function)
    with torch.no_grad():
        found, expected = leaves(lightly(function, *given)), leaves(function(*given))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7, equal_nan=True)


def guard_of(numbers: Tensor, yes: Tensor, num_seen: float) -> Guard:
    one = [part.reshape(1) for part in numbers]
    flags = [part.reshape(1) for part in yes]
    exactness = Exactness(one[9], one[10], one[11].abs(), flags[2])
    return Guard(
        (), {}, *one[:3], one[3].abs(), one[4], one[5].abs(), one[6].abs().clamp_max(1.0),
        torch.tensor([num_seen]), one[7].clamp_min(0), flags[0], one[8], one[12], flags[1], exactness,
    )  # fmt: skip


@pytest.mark.parametrize("loss", [-1.0, 0.3, 40.0, 1e30, math.inf])
@pytest.mark.parametrize("num_seen", [0.0, 1.0, 70.0])
def test_the_safeguard(loss: float, num_seen: float) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        numbers = torch.randn(13, generator=generator)
        yes = torch.rand(3, generator=generator) < 0.5
        finite = torch.tensor([math.isfinite(loss)])
        alike(_watch, guard_of(numbers, yes, num_seen), torch.tensor([loss]), finite)


@pytest.mark.parametrize("total", [5.0, 300.0, math.inf])
@pytest.mark.parametrize("count", [1.0, 2.0, 17.0, 5000.0])
def test_plan_and_means_of_the_loss(total: float, count: float) -> None:
    generator = torch.Generator().manual_seed(0)
    seen, plan = torch.tensor([count]), Plan.of(torch.tensor([total]), 3)
    alike(lambda plan, made: (plan.factor, plan.expected(made)), plan, seen)
    for _ in range(20):
        means, loss = torch.randn(1, 4, generator=generator), torch.randn(1, generator=generator)
        means[:, 2] = means[:, 2].abs()
        alike(noise_of, means)
        alike(loss_means, means, loss, seen)
        alike(_share, plan, seen, means, 0.1)
        alike(looks_at, seen, means, 4)


def test_several_problems_and_graphs_stay_tensors() -> None:
    def kind(x: object) -> object:
        assert isinstance(x, Tensor)
        return x

    assert isinstance(lightly(kind, torch.ones(2)), Tensor)
    assert isinstance(lightly(kind, torch.ones(1, requires_grad=True)), Tensor)
    with torch.no_grad(), pytest.raises(AssertionError):
        lightly(kind, torch.ones(1))
