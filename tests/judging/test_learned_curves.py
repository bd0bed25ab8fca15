"""The learned head on recorded curves: what it says is what a monitor says, and is held against what came."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from probact import HaltingMonitor
from probact.judging.curves.evaluation import LEARNED, evaluate_curves
from probact.judging.curves.learned import Head, Trace, forecasts, gain_of_going_on
from probact.judging.curves.prices import Price, Priced
from probact.judging.curves.results import ForecastRow
from probact.monitoring.head import AHEAD, LEVELS, CurveHead
from tests.helpers.curves import curves_of, drawn_curves


def untrained(path: Path, bias: float = 0.0) -> Head:
    """It stops; with a ``bias`` far below 0 never."""
    torch.manual_seed(0)
    fresh = CurveHead(nu=0.9, hidden_size=4)
    with torch.no_grad():
        fresh.posterior.output.weight.normal_(std=8)
        fresh.posterior.output.bias += bias
    fresh.save(path, {"sets": "x, y"})
    return Head.of(str(path))


@pytest.fixture
def head(tmp_path: Path) -> Head:
    return untrained(tmp_path / "head.pt")


def test_a_head_says_what_a_monitor_says(head: Head) -> None:
    curves = drawn_curves("drawn")
    curves.valid[2, 5] = math.inf
    curves = curves._replace(num_valid=np.array([10, 300] * 6))
    trace = head.traces([Priced.of(curves, Price(price)) for price in (0.3, 0.01)])[1]
    for row in (0, 2, 3):
        monitor = HaltingMonitor(0.01, name=head.name, samples=int(curves.num_valid[row]))
        stop = length = int(curves.lengths[row])
        for t in range(length + 1):
            monitor.update(float(curves.valid[row, t]), train_loss=float(curves.train[row, t]))
            assert trace.hazard[row, t] == pytest.approx(monitor.hazard, rel=1e-4)
            assert trace.halted[row, t] == pytest.approx(monitor.halting_probability, rel=1e-4)
            assert [trace.pays[k][row, t] for k in AHEAD] == pytest.approx([monitor.pays(k) for k in AHEAD], rel=1e-4)
            expected = [0.01 * value for value in trace.gain[row, t]]
            assert expected == pytest.approx(list(monitor.expected_gain), rel=1e-3, abs=1e-7)
            if monitor.should_stop():
                stop = t
                break
        assert trace.stop[row] == stop
    assert (trace.stop < curves.lengths).any()


def told(width: int, num: int = 1) -> Trace:
    """Hazards of .5, "will pay" at .2, quantiles of 0, 1 and 2 prices."""
    say = np.full((num, width), 0.2)
    gain = np.broadcast_to(np.arange(3.0), (num, width, len(LEVELS)))
    return Trace(np.zeros(num, np.int64), np.full((num, width), 0.5), dict.fromkeys(AHEAD, say), gain)


def test_what_came_of_forecasts() -> None:
    """Of the falls 2, 0, 3, 0 at a price of 1 two pay; three looks pay at the first (5 > 3), not at the second (3)."""
    priced = Priced.of(curves_of("falls", [[9, 7, 7, 4, 4]]), Price(1.0))
    rows: dict[str, ForecastRow] = {
        row.forecast: row for row in forecasts("falls", "head", [priced, priced], [told(5), told(5)])
    }
    one, three = rows["another 1 look will pay"], rows["another 3 looks will pay"]
    assert (one.observed[2], one.entries[2]) == (0.5, 8)
    assert one.error == pytest.approx(0.3)
    assert (three.observed[2], three.entries[2]) == (0.5, 4)
    nobody_knows = rows["another 10 looks will pay"]
    assert nobody_knows.entries == ()
    assert math.isnan(nobody_knows.error)
    mass = rows["no later look will pay: q(t <= s | x)"]  # J: 9 8 9 7 8, so that the last look pays no more from 3 on
    assert [mass.entries[place] for place in (5, 7, 8, 9)] == [2, 2, 2, 2]
    assert [mass.observed[place] for place in (5, 7, 8, 9)] == [0, 0, 0, 1]
    quantiles = rows["the gain of going on is below its quantile"]  # gains .875 -.25 1.5 -1
    assert quantiles.observed == (0.5, 0.75, 1.0)
    assert quantiles.error == pytest.approx((0.4 + 0.25 + 0.1) / 3)


def test_the_gain_of_going_on_is_that_of_all_its_stops() -> None:
    """Sum over later stops of their probability times J now less J then; the rest is at the end."""
    random = np.random.default_rng(0)
    priced = Priced.of(drawn_curves("drawn", num=3, looks=8), Price(0.02))
    hazard = random.uniform(size=priced.J.shape)
    found = gain_of_going_on(priced, hazard)
    for row, length in enumerate(priced.looks.lengths):
        for t in range(length + 1):
            going, expected = 1.0, 0.0
            for s in range(t + 1, length + 1):
                stops = 1.0 if s == length else hazard[row, s]
                expected += going * stops * (priced.J[row, t] - priced.J[row, s]) / 0.02
                going *= 1 - stops
            assert found[row, t] == pytest.approx(expected, abs=1e-9)


def test_the_heads_of_several_training_seeds_are_one_row(head: Head, tmp_path: Path) -> None:
    sets = [drawn_curves("a"), drawn_curves("b", seed=1)]
    heads = [head, untrained(tmp_path / "never.pt", bias=-50)]
    found = evaluate_curves(sets, [Price(0.01)], heads=heads, ways=())
    shares = {(row.data_set, row.setting): row.regret_share for row in found.rows if row.way == LEARNED}
    assert len(set(shares.values())) == 4
    mean = found.mean(LEARNED, 0.01)
    assert mean.heads == 2
    assert mean.regret_share == pytest.approx(np.mean(list(shares.values())))
    of_heads = [np.mean([share for (_, name), share in shares.items() if name == one.name]) for one in heads]
    assert mean.head_error == pytest.approx(abs(of_heads[0] - of_heads[1]) / 2)
    of_sets = [np.mean([share for (name, _), share in shares.items() if name == one.name]) for one in sets]
    assert mean.error == pytest.approx(abs(of_sets[0] - of_sets[1]) / 2)
    assert {(row.data_set, row.head) for row in found.forecasts} == {(a.name, b.name) for a in sets for b in heads}
    assert found.heads == {one.name: ("x", "y") for one in heads}


def test_a_head_that_was_trained_on_what_is_judged(head: Head) -> None:
    assert head.trained_on == ("x", "y")
    with pytest.raises(ValueError, match="no training saw, got y: "):
        evaluate_curves([drawn_curves("y"), drawn_curves("b", seed=1)], [Price(0.01)], heads=[head])
