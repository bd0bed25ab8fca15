"""When a monitor stops whatever its head says, and what it makes of curves that no head has seen."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probact import HaltingMonitor
from probact.monitoring.decision import PATIENCE, TIMES, Decision
from probact.monitoring.reading import LARGEST

STEPS = np.arange(1500)
FALL = 0.3 + 2 * np.exp(-STEPS / 15)
NOISE = np.random.default_rng(0).normal(size=1500)


LONGEST = TIMES + PATIENCE + 1
"""Looks at a curve whose first look was the best."""


def stop(losses: Any, price: float = 1e-3, **settings: Any) -> int:
    monitor = HaltingMonitor(price, **settings)
    for loss in losses:
        monitor.update(float(loss))
        if monitor.should_stop():
            break
    return int(monitor.stopped_at)


@pytest.mark.parametrize("price", [0.5, 0.05])
def test_going_on_ends_at_a_multiple_of_what_paid(price: float) -> None:
    best = np.minimum.accumulate(3 * np.exp(-STEPS / 8) + 0.3 * np.abs(NOISE))
    decision, costs = Decision(1, 1, None), best + price * (STEPS + 1)
    for cost in costs:
        decision.take_in(np.array([True]), np.zeros(1), np.array([cost]))
    paid = int(costs.argmin()) + 1
    assert decision.stopped_at[0] == TIMES * paid + PATIENCE + 1
    assert "paid" in str(decision.reasons[0])


def test_what_was_never_finite_waits_for_what_is_not_finite() -> None:
    decision = Decision(1, 1, None)
    for _ in range(9):
        decision.take_in(np.array([False]), np.zeros(1), np.array([math.inf]))
    assert not decision.stopped_at[0]
    decision.take_in(np.array([False]), np.zeros(1), np.array([math.inf]))
    assert decision.stopped_at[0] == 10


@pytest.mark.parametrize("late", [1, 2, 5, 9])
def test_a_curve_begins_at_its_first_finite_loss(late: int) -> None:
    assert stop([math.nan] * late + FALL.tolist()) == stop(FALL) + late


@pytest.mark.parametrize("every", [2, 3, 5, 10])
def test_single_looks_that_are_not_finite_change_little(every: int) -> None:
    losses = FALL.copy()
    losses[every - 1 :: every] = math.nan
    assert abs(stop(losses) - stop(FALL)) <= 6


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(("height", "noise"), [(1, 0.02), (2, 0.2), (10, 3), (20, 5)])
def test_a_run_that_only_gets_worse_ends(height: float, noise: float, relative: bool) -> None:
    assert 0 < stop([0.7, *np.maximum(height + noise * NOISE, 0.71)], relative=relative) <= LONGEST


@pytest.mark.parametrize("constant", [0, 1e2, 1e4, 1e6])
def test_a_constant_costs_little(constant: float) -> None:
    assert stop(FALL + constant) == pytest.approx(stop(FALL), rel=0.2)


@pytest.mark.parametrize("value", [0.0, 0.7, 30.0, 1e4, -1e9, 1e90])
def test_a_loss_that_stays_ends(value: float) -> None:
    assert 0 < stop([value] * 200) <= LONGEST


@pytest.mark.parametrize("spike", [1e30, 1e38, 1e90, 10 * LARGEST])
@pytest.mark.parametrize("look", [0, 10])
def test_a_giant_loss_ends_and_prolongs_nothing(spike: float, look: int) -> None:
    assert stop([*FALL[:look], spike, *FALL[look:]]) == pytest.approx(stop(FALL), rel=0.2)


def test_minimum_looks_hold_whatever_comes() -> None:
    assert stop([math.nan] * 60, minimum_looks=50) == 50
    assert stop([0.5] * 60, minimum_looks=50) == 50 > stop([0.5] * 60)
    assert stop([1.0] * 5, maximum_looks=1) == 1
    with pytest.raises(ValueError, match="maximum_looks: expected at least minimum_looks, got 5 and 50"):
        HaltingMonitor(1e-3, minimum_looks=50, maximum_looks=5)


@pytest.mark.parametrize("noise", [-1.0, math.inf])
def test_a_standard_error_that_is_none_is_refused(noise: float) -> None:
    monitor = HaltingMonitor(1e-3)
    with pytest.raises(ValueError, match="noise: expected numbers >= 0, or NaN"):
        monitor.update(1.0, noise=noise)
    assert monitor.num_looks == 0
    monitor.update(1.0, noise=math.nan)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": None}, "hidden: expected a tensor"),
        ({"price": None}, "price: expected a tensor"),
        ({"decision": {"reasons": []}}, "reasons: expected 1, got 0"),
        ({"decision": {"lost": None}}, "lost: expected a tensor"),
        ({"decision": {"hazards": None}}, "hazards: expected a tensor"),
        ({"memory": {"seen": None}}, "seen: expected a table"),
    ],
)
def test_a_broken_state_is_refused_and_changes_nothing(change: dict[str, Any], message: str) -> None:
    monitor = HaltingMonitor(1e-3)
    for loss in FALL[:5]:
        monitor.update(loss)
    state = monitor.state_dict()
    before = HaltingMonitor(1e-3)
    for name, value in change.items():
        if isinstance(value, dict):
            parts = {
                part: (given if isinstance(given, list) else state[name][part][:0]) for part, given in value.items()
            }
            state[name] = {**state[name], **parts}
        else:
            state[name] = state[name][:0]
    with pytest.raises(ValueError, match=message):
        before.load_state_dict(state)
    assert before.num_looks == 0


def test_a_head_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    from probact.monitoring.head import CurveHead

    hazards = []
    for nu in (0.9, 0.99):
        CurveHead(nu).save(tmp_path / "head.pt", {})
        monitor = HaltingMonitor(1e-3, name=tmp_path / "head.pt")
        monitor.update(1.0)
        hazards.append(monitor.hazard)
    assert hazards[0] != hazards[1]


def test_of_nothing_nothing_is_foreseen() -> None:
    monitor = HaltingMonitor(1e-3)
    monitor.update(math.nan)
    assert math.isnan(monitor.expected_gain.median)
    assert math.isnan(monitor.pays(10))
    assert math.isnan(monitor.expected_remaining_looks)
    assert monitor.summary() == "goes on after look 1; no finite loss yet"
    monitor.update(1.0)
    assert math.isfinite(monitor.expected_gain.median)
    with pytest.raises(ValueError, match="there is no 'settings' in it"):
        monitor.load_state_dict({})
