"""A black-box optimizer, asked and told."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from probact.inference.posteriors.base import HaltingPosterior
from probact.problems.base import FAMILIES
from probact.rules.base import RULES, UpdateRule
from probact.runs.trained import TrainedOptimizer
from probact.searching.optimizer import BlackBoxOptimizer
from probact.searching.told import mean_and_spread, num_first, standard_of
from probact.stopping.rules import Budget, Hazard, Patience
from probact.unrolling.rollout import unroll
from tests.helpers.searches import Walker, bowl, drive, walker


@pytest.mark.parametrize(("family", "dim"), [("gp-1d", 1), ("branin", 2)])
@pytest.mark.parametrize("rule", ["walker", "gp-ei", "lstm-search"])
def test_asking_and_telling_is_the_unroll(family: str, dim: int, rule: str) -> None:
    """Query by query: what is asked of a user is what training and judging ask."""
    problem = FAMILIES.build(family).sample(1, torch.Generator().manual_seed(3)).to(torch.float64)
    torch.manual_seed(0)
    part = Walker() if rule == "walker" else RULES.build(rule, {"dim": dim} if rule == "lstm-search" else {})
    with torch.no_grad():
        rollout = unroll(part.double(), problem, 8)
    assert rollout.asked is not None
    optimizer = BlackBoxOptimizer(part, [(0, 1)] * dim, stop=None, scale=(0, 1))

    def function(point: Any) -> Tensor:
        return problem.value({"x": torch.tensor([point], dtype=torch.float64)})

    points = drive(optimizer, function, 8)
    found = torch.tensor(points, dtype=torch.float64)
    torch.testing.assert_close(found, rollout.asked.queries["x"][:, 0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("rule", [Walker(), "gp-ei"])
@pytest.mark.parametrize(("factor", "offset"), [(1e3, 0.0), (1e-3, 0.0), (1.0, 100.0), (-1.0, 5.0)])
@pytest.mark.parametrize("price", [0.02, None])
def test_units_do_not_matter(rule: Any, factor: float, offset: float, price: float | None) -> None:
    def made(unit: float) -> BlackBoxOptimizer:
        stop = "own" if rule == "gp-ei" else Patience(4)
        asked = None if price is None else price * abs(unit)
        return BlackBoxOptimizer(rule, [(-3.0, 3.0)] * 2, price=asked, stop=stop, maximize=unit < 0)

    plain, other = made(1.0), made(factor)
    expected = drive(plain)
    points = drive(other, lambda point: factor * bowl(point) + offset)
    assert 5 <= len(expected) < 40
    assert len(points) == len(expected)
    np.testing.assert_allclose(points, expected, atol=1e-6)
    assert other.best.value == pytest.approx(factor * plain.best.value + offset, abs=1e-6 * abs(factor))
    assert plain.expected_gain is None or other.expected_gain == pytest.approx(
        abs(factor) * plain.expected_gain, rel=1e-3
    )


def test_a_dearer_query_stops_sooner_and_in_words() -> None:
    nums = []
    for price in (1e-4, 1e-2, 1.0):
        optimizer = BlackBoxOptimizer("gp-ei", {"a": (-3, 3), "b": (-3, 3)}, price=price)
        drive(optimizer, lambda point: bowl(point.values()))
        nums.append(optimizer.num_queries)
        assert optimizer.stop_reason is not None
        assert f"after {optimizer.num_queries} queries: the next is expected to gain" in optimizer.stop_reason
        assert optimizer.stop_reason.endswith(f"no more than its price of {price:.3g}")
        assert optimizer.expected_gain is not None
        assert optimizer.expected_gain <= price
    assert nums == sorted(nums, reverse=True)
    assert nums[0] > nums[-1]


def test_without_a_price_it_is_one_percent_of_the_spread() -> None:
    optimizer = BlackBoxOptimizer("gp-ei", [(-3, 3)])
    assert optimizer.price is None
    values = []
    while not optimizer.should_stop():
        values.append(bowl(optimizer.ask()))
        optimizer.tell(values[-1])
    first = values[: num_first(len(values), 1)]
    assert optimizer.price == pytest.approx(0.01 * np.std(first, ddof=1))
    assert len(values) < 20


def test_it_does_not_stop_by_a_unit_that_is_hardly_known() -> None:
    """The first values are almost the same, so that little seems to be expected."""
    nums = {}
    for minimum in (1, None):
        optimizer = BlackBoxOptimizer("gp-ei", [(0, 1)], price=0.01, minimum=minimum)
        drive(optimizer, lambda point: math.sin(25 * point[0]) * (point[0] > 0.7) + 1e-4 * point[0])
        nums[minimum] = optimizer.num_queries
    assert nums[1] == 2
    assert nums[None] >= 6
    asked = BlackBoxOptimizer("gp-ei", [(0, 1)], stop=Budget(2))
    assert len(drive(asked)) == 2


def test_best_is_in_the_users_units() -> None:
    optimizer = BlackBoxOptimizer("gp-ei", {"rate": (1e-4, 1.0), "n": (1, 20)}, log=["rate"], integer=["n"])
    points = drive(optimizer, lambda p: (math.log10(p["rate"]) + 2) ** 2 + 0.1 * (p["n"] - 7) ** 2)
    assert all(isinstance(point["n"], int) and 1e-4 <= point["rate"] <= 1 for point in points)
    point, value = optimizer.best
    assert value == (math.log10(point["rate"]) + 2) ** 2 + 0.1 * (point["n"] - 7) ** 2
    assert point["n"] in (6, 7, 8)


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_failed_queries_are_the_worst_so_far(lost: float) -> None:
    plain, other = walker(stop=None, scale=(0, 1)), walker(stop=None, scale=(0, 1))
    values = [2.0, 5.0, None, 1.0, None, 3.0]
    for value, worst in zip(values, [2.0, 5.0, 5.0, 1.0, 5.0, 3.0], strict=True):
        assert plain.ask() == other.ask()
        plain.tell(worst)
        other.tell(lost if value is None else value)
    assert (other.num_failed, other.num_queries) == (2, 6)
    assert other.best.value == 1.0
    assert all(math.isfinite(number) for number in other._course.walk.propose())


def test_what_never_works_or_never_changes_stops_too() -> None:
    for function, said in ((lambda _: math.nan, "no value of 6 is finite"), (lambda _: 3.0, "all values are the same")):
        optimizer = BlackBoxOptimizer("gp-ei", [(-3, 3)], price=0.01)
        drive(optimizer, function)
        assert optimizer.num_queries == 6
        assert said in str(optimizer.stop_reason)


def test_a_plateau_is_not_the_end() -> None:
    optimizer = BlackBoxOptimizer("gp-ei", [(-3, 3)], stop=None)
    for value in (2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 0.5):
        optimizer.ask()
        optimizer.tell(value)
    assert optimizer.price == pytest.approx(0.01 * mean_and_spread([2.0] * 7 + [1.0, 0.5])[1])


@pytest.mark.parametrize("rule", [Walker(), "gp-ei"])
@pytest.mark.parametrize("told", [0, 1, 3, 5])
@pytest.mark.parametrize("waits", [False, True])
def test_it_goes_on_from_its_state_and_as_a_copy(rule: Any, told: int, waits: bool) -> None:
    stop = "own" if rule == "gp-ei" else Patience(3)
    first, second = (BlackBoxOptimizer(rule, [(-3.0, 3.0)] * 2, stop=stop, price=1e-4) for _ in range(2))
    drive(first, most=told)
    if waits:
        first.ask()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    copied = first.copy()
    expected = drive(first, most=12)
    for other in (second, copied):
        np.testing.assert_allclose(drive(other, most=12), expected, atol=1e-9)
        assert (other.best, other.stop_reason) == (first.best, first.stop_reason)


def test_whole_numbers_are_found_and_not_asked_twice() -> None:
    optimizer = BlackBoxOptimizer("gp-ei", [(1, 9), (10, 50)], integer=True, stop=None)
    points = drive(optimizer, lambda point: (point[0] - 5) ** 2 + 0.01 * (point[1] - 20) ** 2, 25)
    assert len({tuple(point) for point in points}) == 25
    assert optimizer.best.point == [5, 20]


def test_a_state_of_another_is_refused() -> None:
    optimizer = walker()
    with pytest.raises(ValueError, match="expected the state of a BlackBoxOptimizer"):
        optimizer.load_state_dict({"monitor": 1})
    with pytest.raises(ValueError, match="expected the state of an optimizer with axes"):
        optimizer.load_state_dict(walker(dim=2).state_dict())


def test_points_of_the_users_own_are_shown_to_the_rule() -> None:
    optimizer = BlackBoxOptimizer("gp-ei", [(-3.0, 3.0)], stop=None)
    for x in (-2.0, 0.0, 2.0):
        optimizer.tell(bowl([x]), at=[x])
    (x,) = optimizer.ask()
    assert 0 < x < 2
    optimizer.tell(bowl([1.0]), at=[1.0])
    assert optimizer.best == ([1.0], 0.0)
    assert optimizer.num_queries == 4


def test_the_same_point_until_it_is_told() -> None:
    optimizer = walker()
    assert optimizer.ask() == optimizer.ask()


@pytest.mark.parametrize("value", [np.float32(2), np.array([2.0]), torch.tensor(2.0), torch.tensor([2.0]), 2, True])
def test_values_of_any_number_type(value: Any) -> None:
    optimizer = walker()
    optimizer.ask()
    optimizer.tell(value)
    assert isinstance(optimizer.best.value, float)


def trained(rule: UpdateRule, path: Path, **options: Any) -> Path:
    torch.manual_seed(0)
    posterior = HaltingPosterior.of(rule, "stick-breaking", 0.358)
    TrainedOptimizer(rule, {"dim": 2}, posterior, 0.358, 30, kl_scale=0.05, **options).save(path)
    return path


def test_a_trained_file_stops_by_its_own_rule(tmp_path: Path) -> None:
    path = trained(RULES.build("lstm-search", {"dim": 2}), tmp_path / "search.pt", stop=Hazard(0.01))
    optimizer = BlackBoxOptimizer.from_pretrained(path, [(-3, 3), (-3, 3)], price=0.01)
    assert optimizer.stop is not None
    assert optimizer.stop.to_json() == Hazard(0.01).to_json()
    drive(optimizer)
    assert optimizer.hazard is not None
    assert optimizer.hazard >= 0.01
    assert "no further one is expected to be worth its price of 0.01" in str(optimizer.stop_reason)
    other = BlackBoxOptimizer.from_pretrained(path, [(-3, 3), (-3, 3)], stop=None)
    assert drive(other, most=10)
    assert not other.should_stop()
    with pytest.raises(ValueError, match="expected functions of dim 2 variables, got 1"):
        BlackBoxOptimizer.from_pretrained(path, [(0, 1)])


@pytest.mark.parametrize(("factor", "offset"), [(1e3, 0.0), (1e-3, 100.0)])
@pytest.mark.parametrize("price", [0.02, None])
def test_what_ships_asks_and_stops_in_any_unit(factor: float, offset: float, price: float | None) -> None:
    def function(point: Any) -> float:
        return math.sin(4 * point[0]) + 0.3 * point[0]

    plain, other = (
        BlackBoxOptimizer.from_pretrained("gp-1d", [(-1, 2)], price=None if price is None else price * unit)
        for unit in (1.0, factor)
    )
    expected = drive(plain, function)
    points = drive(other, lambda point: factor * function(point) + offset)
    assert 4 <= len(expected) < 15
    np.testing.assert_allclose(points, expected, atol=1e-5)
    assert plain.best.value < -1.1
    with pytest.raises(ValueError, match="expected functions of dim 1 variables, got 2"):
        BlackBoxOptimizer.from_pretrained("gp-1d", [(-1, 2)] * 2)


@pytest.mark.parametrize(
    ("name", "dim", "horizon", "slack"), [("gp-1d", 1, 20, 0.0), ("gp-2d", 2, 30, 0.0), ("gp-6d", 6, 60, 0.1)]
)
def test_beyond_its_horizon_it_holds_on_and_wants_to_stop(name: str, dim: int, horizon: int, slack: float) -> None:
    """In twice the queries of its family the best never gets worse, all still stop, and the mean hazard is no smaller.

    That of ``gp-6d``, whose training is short, is a little: ``benchmarks/search_beyond.py``.
    """
    problems = FAMILIES.build(name).sample(4, torch.Generator().manual_seed(7)).to(torch.float64)
    hazards = []
    for index in range(4):
        one = problems.select(torch.tensor([index]))
        optimizer = BlackBoxOptimizer.from_pretrained(name, [(0, 1)] * dim, price=0.01)
        best = []
        for _ in range(2 * horizon):
            optimizer.tell(one.value({"x": torch.tensor([optimizer.ask()], dtype=torch.float64)}))
            hazards.append(optimizer.hazard or 0.0)
            best.append(optimizer.best.value)
        assert best == sorted(best, reverse=True)
    at_horizon, at_end = (hazards[step - 1 :: 2 * horizon] for step in (horizon, 2 * horizon))
    threshold = TrainedOptimizer.load_named(name).stop.threshold  # type: ignore[union-attr]
    assert min(at_end) >= threshold
    assert sum(at_end) >= sum(at_horizon) - 4 * slack


def test_its_hazard_is_that_of_the_unroll(tmp_path: Path) -> None:
    """Of the function itself, in its own unit and at its own price, as it was trained."""
    path = trained(RULES.build("lstm-search", {"dim": 2}), tmp_path / "search.pt")
    file = TrainedOptimizer.load(path)
    cost = -0.05 * math.log(0.358)
    problem = FAMILIES.build("gp-2d").priced(0.02, cost).sample(1, torch.Generator().manual_seed(0)).to(torch.float64)
    rule, posterior = file.rule.double(), file.posterior
    assert posterior is not None
    with torch.no_grad():
        features = unroll(rule, problem, 8).features
        logits = posterior.double()(features)
    halted, expected = torch.zeros(1, dtype=torch.float64), []
    for logit in logits.logits:
        expected.append(float(hazard := logits.hazard(logit, halted)))
        halted = halted + (1 - halted) * hazard
    optimizer = BlackBoxOptimizer.from_pretrained(path, [(0, 1), (0, 1)], price=0.02, stop="hazard=1")
    found = []
    for _ in range(8):
        optimizer.tell(problem.value({"x": torch.tensor([optimizer.ask()], dtype=torch.float64)}))
        found.append(optimizer.hazard)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_spread_is_that_of_the_first_values() -> None:
    assert [num_first(num, 1) for num in range(8)] == [0, 1, 2, 3, 4, 4, 6, 6]
    assert [num_first(num, 6) for num in (11, 12, 15, 16, 40)] == [8, 12, 12, 16, 16]
    values = [3.0, -1.0, 4.0, 1.0, 5.0, -9.0, 100.0, 1e6]
    assert standard_of(values, 1) == pytest.approx((np.mean(values[:6]), np.std(values[:6], ddof=1)))
    assert mean_and_spread([1e300, -1e300])[1] == pytest.approx(math.sqrt(2) * 1e300)
    assert mean_and_spread([0.1 + 0.2, 0.3])[1] == 0
    assert mean_and_spread([]) == (0.0, 0.0)


def test_a_box_whose_points_are_all_known_is_done() -> None:
    optimizer = BlackBoxOptimizer("gp-ei", {"n": (1, 3)}, integer=True, price=1e-5)
    asked = []
    while not optimizer.should_stop():
        assert len(asked) < 4
        asked.append(optimizer.ask()["n"])
        optimizer.tell((asked[-1] - 2) ** 2)
    assert sorted(asked) == [1, 2, 3]
    assert optimizer.stop_reason == "after 3 queries: all 3 points of the box are known"


def test_what_it_is_told_to_wait_for_keeps_its_place_in_a_cell() -> None:
    """A whole number that is told by its value alone is the middle of its cell; one that was asked is where it was."""
    one, other = (BlackBoxOptimizer("gp-ei", [(1, 9)], integer=True, stop=None) for _ in range(2))
    for _ in range(4):
        (n,) = one.ask()
        place = one.state_dict()["pending"]
        one.tell((n - 3.3) ** 2)
        other.waits_for(place)
        other.tell((n - 3.3) ** 2, at=[n])
    assert other.state_dict() == one.state_dict()
    other.waits_for([0.99])
    other.tell(1.0, at=[2])
    assert other.state_dict()["places"][-1] == pytest.approx([1.5 / 9]), "what was waited for was another number"
