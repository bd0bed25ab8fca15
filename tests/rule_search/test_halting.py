"""Which rules are stopped on the way."""

from __future__ import annotations

import numpy as np
import pytest

from probact.rule_search.child import LOOKS, Tried
from probact.rule_search.halting import HALTINGS, Halving, Learned, Median, Never


def tried(curve: list[float], stopped_at: int = 0) -> Tried:
    return Tried(0.5, 1.0, 0.5, 0.1, stopped_at, tuple(curve))


def test_median_compares_with_those_that_went_to_the_end() -> None:
    rule = Median()
    rule.end([tried([float(place), 20.0 + place]) for place in range(10)])
    rule.end([tried([-100.0], stopped_at=1)])
    rule.begin(4)
    assert rule.stops(1, [0, 1, 2, 3], np.array([4.4, 4.6, 0.0, 9.0])).tolist() == [False, True, False, True]
    assert rule.stops(2, [0, 2], np.array([8.0, 30.0])).tolist() == [False, False], "by the best loss so far"


def test_median_waits_for_ten() -> None:
    rule = Median()
    rule.end([tried([0.0])] * 9)
    assert not rule.begin(1).stops(1, [0], np.array([9.0])).any()
    rule.end([tried([0.0])])
    assert rule.begin(1).stops(1, [0], np.array([9.0])).all()


def test_halving_keeps_the_best_third_at_its_rungs() -> None:
    losses = np.random.default_rng(0).normal(size=300)
    rule = Halving()
    kept = ~np.concatenate([rule.stops(1, range(10), some) for some in losses.reshape(30, 10)])
    assert kept.mean() == pytest.approx(1 / 3, abs=0.05)
    assert losses[kept].mean() < losses[~kept].mean() - 1
    assert not rule.stops(2, range(10), losses[:10]).any()


def test_learned_stops_what_stands_still_and_not_what_falls_fast() -> None:
    rule = Learned().begin(2)
    falling, flat, stopped = [2.3, 1.8, 1.3, 0.9, 0.5, 0.2], [2.34, 2.33, 2.33, 2.34, 2.33, 2.33], np.zeros(2, bool)
    left = [0, 1]
    for look, pair in enumerate(zip(falling, flat, strict=True), 1):
        now = rule.stops(look, left, np.array(pair)[left])
        stopped[np.array(left)[now]] = True
        left = [place for place in left if not stopped[place]]
    assert stopped.tolist() == [False, True]
    assert len(falling) == len(LOOKS)


@pytest.mark.parametrize("name", list(HALTINGS))
def test_what_it_learned_is_kept(name: str) -> None:
    one, other = HALTINGS.build(name), HALTINGS.build(name)
    for rule in (one,):
        rule.begin(20)
        rule.stops(1, range(20), np.arange(20.0))
        rule.end([tried([float(place)] * len(LOOKS)) for place in range(20)])
    other.load_state(one.to_state())
    losses = np.array([-1.0, 5.0, 30.0])
    assert one.begin(3).stops(1, range(3), losses).tolist() == other.begin(3).stops(1, range(3), losses).tolist()


def test_never_stops_nothing() -> None:
    assert not Never().begin(3).stops(1, range(3), np.full(3, np.inf)).any()
