"""What the subspace rule sees besides the directions, by name."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from probact.rules.subspace import directions
from probact.rules.subspace.memory import DirectionMemory
from probact.rules.subspace.signals import SIGNALS

SHAPES = [torch.Size((2,)), torch.Size((3,))]
FIRST, STEP, SECOND = [3.0, 4.0, 0.0, 0.0, 1.0], [-1.0, 0.0, 0.0, 0.0, -2.0], [1.0, 4.0, 0.0, 0.0, -1.0]
THETA = [3.0, 4.0, 0.0, 0.0, 12.0]


def taken_in(memory: Any, grad: list[float], loss: float, theta: list[float]) -> tuple[Any, dict[str, list[float]]]:
    """One problem of two tensors; each signal's values on both."""
    of_one = (torch.tensor([row], dtype=torch.float64) for row in (grad, theta))
    grads, flat = of_one
    memory, values = directions.take_in(memory, grads, flat.new_tensor([loss]), flat, SHAPES, 1.0, 0.0)
    assert values.shape == (1, 2, len(SIGNALS))
    return memory, {name: values[0, :, place].tolist() for place, name in enumerate(SIGNALS)}


def test_every_signal_by_hand() -> None:
    theta = torch.tensor([THETA], dtype=torch.float64)
    memory, first = taken_in(DirectionMemory.init(theta, 2, 0), FIRST, 10.0, THETA)
    assert all(value == 0 for values in first.values() for value in values)
    moved = [a + b for a, b in zip(THETA, STEP, strict=True)]
    _, found = taken_in(memory.moved(torch.tensor([STEP], dtype=torch.float64)), SECOND, 8.0, moved)
    sizes, rates, polyak = [20**0.5, 10.0], [0.5, 1.0], 10 / 26  # |<s, y>| / <y, y> with y = (-2, 0), (0, 0, -2)
    expected = {
        "cosine of step and change": [1.0, 1.0],
        "growth of gradient": [0.5 * math.log(17 / 25) / 2, 0.0],
        "change of rate": [math.log(rate / polyak) for rate in rates],
        "rate's step beside theta": [math.log(0.5 * 17**0.5 / sizes[0]) / 3, math.log(1 / sizes[1]) / 3],
        "last step beside theta": [math.log(1 / sizes[0] + 1e-6) / 3, math.log(2 / sizes[1] + 1e-6) / 3],
        "share of whole gradient": [math.log(17 / 18) / 3, math.log(1 / 18) / 3],
        "drop beside promise": [2 / 5] * 2,
        "is best": [1.0] * 2,
        "has risen": [0.0] * 2,
        "loss beside first": [math.log(0.8 + 1e-6) / 3] * 2,
        "loss above mean": [(8 - 9.8) / 9.8] * 2,
        "steps made": [math.log(2) / 4] * 2,
    }
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values), name


def test_wild_losses_and_gradients_stay_within_the_clamps() -> None:
    theta = torch.tensor([THETA], dtype=torch.float64)
    memory, _ = taken_in(DirectionMemory.init(theta, 2, 0), FIRST, 1.0, THETA)
    _, found = taken_in(memory, [1e20 * entry for entry in SECOND], 1e9, THETA)
    assert found["growth of gradient"] == [2.5, 2.5]
    assert found["rate's step beside theta"] == [5 / 3, 5 / 3]
    assert found["drop beside promise"] == [-3.0, -3.0]
    assert found["loss above mean"] == [3.0, 3.0]
    assert found["has risen"] == [0.0, 0.0]  # the first step may overshoot
