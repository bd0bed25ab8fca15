"""Points in the user's units and in [0,1]^d."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, strategies as st

from probact.searching.box import Box

SHARES = st.floats(0, 1)


@given(SHARES, SHARES)
def test_there_and_back(first: float, second: float) -> None:
    box = Box.of([(-3, 5), (1e-3, 1e2)], log=[1])
    x, y = box.point([first, second])
    assert -3 <= x <= 5
    assert 1e-3 <= y <= 1e2
    assert box.shares([x, y]) == pytest.approx([first, second], abs=1e-9)


def test_a_log_axis_is_even_in_the_logarithm() -> None:
    (x,) = Box.of([(1e-4, 1.0)], log=True).point([0.25])
    assert math.log10(x) == pytest.approx(-3)


@pytest.mark.parametrize("log", [False, True])
def test_whole_numbers_are_cells(log: bool) -> None:
    box = Box.of({"n": (1, 8)}, log=log, integer=["n"])
    found = [box.point([share / 1000])["n"] for share in range(1001)]
    assert set(found) == set(range(1, 9))
    assert all(isinstance(n, int) for n in found)
    assert found == sorted(found)
    if not log:
        assert max(found.count(n) for n in range(1, 9)) - min(found.count(n) for n in range(1, 9)) <= 2
    for n in range(1, 9):
        (share,) = box.shares({"n": n})
        assert box.point([share])["n"] == n


def test_what_leaves_the_box_comes_back() -> None:
    assert Box.of([(0, 2), (0, 2)]).within([-0.5, math.nan]) == [0.0, 0.5]


def test_whole_numbers_are_not_asked_twice() -> None:
    box = Box.of([(1, 3), (1, 3)], integer=True)
    places: list[list[float]] = []
    for _ in range(9):
        places.append(box.fresh([0.5, 0.45], places))
    asked = [box.point(place) for place in places]
    assert sorted(asked) == [[a, b] for a in (1, 2, 3) for b in (1, 2, 3)]
    assert asked[:2] == [[2, 2], [2, 1]]
    assert box.fresh([0.5, 0.45], places) == [0.5, 0.45]
    mixed = Box.of([(1, 3), (1.0, 3.0)], integer=[0])
    assert mixed.fresh([0.5, 0.5], [[0.5, 0.5]]) == [0.5, 0.5]
    wide = Box.of([(0, 10**6)] * 3, integer=True)
    assert wide.point(wide.fresh([0.5] * 3, [[0.5] * 3])) != wide.point([0.5] * 3)


@pytest.mark.parametrize("which", [True, ["a", "b"], [0, 1], [True, True], ("a", 1)])
def test_axes_are_said_in_several_ways(which: Any) -> None:
    assert all(axis.log for axis in Box.of({"a": (1, 2), "b": (1, 3)}, log=which).axes)


@pytest.mark.parametrize(
    ("bounds", "options", "said"),
    [
        ([(1, 0)], {}, r"bounds of axis 0: expected two finite numbers low < high, got \(1, 0\)"),
        ([(0, 0)], {}, "low < high"),
        ({"rate": (0, math.nan)}, {}, "bounds of rate: expected two finite numbers"),
        ([(0, math.inf)], {}, "finite"),
        ([("a", "b")], {}, "finite"),
        ([3], {}, r"bounds of axis 0: expected \(low, high\), got 3"),
        ([], {}, "one axis or more"),
        (5, {}, r"bounds: expected a list of \(low, high\)"),
        ("ab", {}, "bounds: expected a list"),
        ([(0, 1)], {"log": True}, "low > 0 on a log axis, got 0"),
        ([(0, 1.5)], {"integer": True}, "whole numbers"),
        ([(0, 1)], {"log": ["rate"]}, "log: expected axes out of axis 0, or their places, got 'rate'"),
        ([(0, 1)], {"integer": [True, False]}, "one truth value for each of 1 axes, got 2"),
        ([(0, 1)], {"integer": [3]}, "integer: expected axes out of"),
    ],
)
def test_bad_boxes_are_refused_in_one_line(bounds: Any, options: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        Box.of(bounds, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("bounds", "point", "said"),
    [
        ([(0, 1), (0, 1)], [0.5], "point: expected 2 numbers, got 1"),
        ([(0, 1)], 0.5, "point: expected 1 numbers"),
        ([(0, 1)], [1.5], r"axis 0: expected a number in \[0, 1\], got 1.5"),
        ([(0, 1)], [math.nan], "axis 0"),
        ({"a": (0, 1)}, {"b": 1}, "point: expected a dict of a"),
        ({"a": (0, 1)}, [0.5], "point: expected a dict of a"),
    ],
)
def test_bad_points_are_refused_in_one_line(bounds: Any, point: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Box.of(bounds).shares(point)


def test_a_share_of_a_whole_number_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a whole number"):
        Box.of([(0, 4)], integer=True).shares([1.5])
