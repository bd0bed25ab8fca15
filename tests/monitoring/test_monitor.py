"""``HaltingMonitor`` around a loop that is not ours; what it decides by the shipped head is in ``test_shipped``."""

import copy
import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from probact import HaltingMonitor
from probact.monitoring.decision import PATIENCE, TIMES
from probact.monitoring.head import CurveHead, OnlineHead
from probact.monitoring.signals import NUM_FEATURES, features, signals_of
from tests.helpers.heads import head_file
from tests.helpers.preloaded import python

LOSSES = (0.2 + np.exp(-np.arange(40) / 6) + 0.01 * np.random.default_rng(0).normal(size=40)).tolist()


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    return head_file(tmp_path, -30.0)


@pytest.fixture
def hasty(tmp_path: Path) -> Path:
    return head_file(tmp_path, 30.0)


def fed(monitor: HaltingMonitor, losses: Any = LOSSES) -> HaltingMonitor:
    for loss in losses:
        monitor.update(loss)
    return monitor


def test_the_head_online_is_the_head_on_the_whole_curve(tmp_path: Path) -> None:
    head = CurveHead.load(head_file(tmp_path, -1.0))
    online = OnlineHead(head)
    losses = np.stack([LOSSES, LOSSES[::-1]], 1)
    seen = features(signals_of(losses)[1], np.full(losses.shape, 0.01))
    assert seen.shape == (40, 2, NUM_FEATURES)
    q, expected = head(torch.from_numpy(seen))
    hidden = online.init(2)
    for look in range(40):
        hazard, hidden = online.step(seen[look], hidden)
        assert hazard == pytest.approx(torch.sigmoid(q.logits[look]).numpy(), abs=1e-5)
        for now, whole in zip(online.expected(hidden), expected, strict=True):
            assert now.numpy() == pytest.approx(whole[look].numpy(), abs=1e-4)


def test_best_and_looks(patient: Path) -> None:
    monitor = HaltingMonitor(0.001, name=patient)
    assert math.isnan(monitor.hazard)
    assert monitor.summary() == "no look yet"
    assert (monitor.best_look, monitor.best_loss, monitor.num_looks) == (0, math.inf, 0)
    assert [monitor.update(loss) for loss in (3, 2.0, torch.tensor(2.5), np.float32(1.5), 1.5)] == [1, 1, 0, 1, 0]
    assert (monitor.best_look, monitor.best_loss, monitor.num_looks) == (4, 1.5, 5)
    assert monitor.stop_reason is None
    assert not monitor.should_stop()
    assert 0 <= monitor.halting_probability < 1e-3


def test_mode_max_is_mode_min_of_the_negative(tmp_path: Path) -> None:
    name = head_file(tmp_path, -9.0)
    low, high = HaltingMonitor(0.001, name=name), HaltingMonitor(0.001, name=name, mode="max")
    for loss in LOSSES:
        assert low.update(loss, train_loss=loss) == high.update(-loss, train_loss=-loss)
        assert low.hazard == high.hazard
        assert low.expected_gain == high.expected_gain
    assert low.best_loss == -high.best_loss
    assert "best 0.1" in low.summary()
    assert "best -0.1" in high.summary()


def test_several_curves_are_as_each_alone(tmp_path: Path) -> None:
    name = head_file(tmp_path, -9.0)
    curves = [LOSSES, LOSSES[::-1], [math.nan, *LOSSES[1:]]]
    together, alone = HaltingMonitor(0.001, num=3, name=name), [HaltingMonitor(0.001, name=name) for _ in curves]
    for look, row in enumerate(zip(*curves, strict=True)):
        best = together.update(row)
        assert best.tolist() == [one.update(loss) for one, loss in zip(alone, row, strict=True)], look
        assert together.hazard == pytest.approx([one.hazard for one in alone], abs=1e-6)
    assert together.should_stop().tolist() == [one.should_stop() for one in alone]
    assert together.stop_reason == [one.stop_reason for one in alone]
    assert len(together.summary().splitlines()) == 3
    for name in ("best_look", "best_loss", "halting_probability", "expected_remaining_looks", "stopped_at"):
        assert getattr(together, name) == pytest.approx([getattr(one, name) for one in alone], rel=1e-4, abs=1e-5)
    assert together.pays(10) == pytest.approx([one.pays(10) for one in alone], abs=1e-6)


def test_it_stops_not_before_minimum_looks_and_at_maximum_looks(hasty: Path, patient: Path) -> None:
    monitor = fed(HaltingMonitor(0.001, name=hasty, minimum_looks=7), LOSSES[:6])
    assert not monitor.should_stop()
    monitor.update(LOSSES[6])
    assert monitor.should_stop()
    assert monitor.stopped_at == 7
    assert monitor.stop_reason == "another look is not expected to be worth its price"
    assert monitor.summary().startswith("stopped at look 7: another look is not")
    monitor = fed(HaltingMonitor(0.001, name=patient, maximum_looks=9), LOSSES[:9])
    assert (monitor.should_stop(), monitor.stop_reason) == (True, "maximum_looks was reached")


def test_after_the_stop_it_warns_once_and_keeps_the_best(hasty: Path) -> None:
    monitor = fed(HaltingMonitor(0.001, name=hasty), LOSSES[:2])
    with pytest.warns(UserWarning, match="stopped at look 2, and looks go on"):
        assert monitor.update(-5.0)
    assert not monitor.update(0.0)  # a second warning would be an error here
    assert (monitor.stopped_at, monitor.best_look, monitor.should_stop()) == (2, 3, True)


def test_losses_that_are_not_finite(hasty: Path) -> None:
    monitor = fed(HaltingMonitor(0.001, name=hasty), [math.nan] * 9)
    assert not monitor.should_stop()
    monitor.update(math.inf)
    assert (monitor.should_stop(), monitor.stop_reason) == (True, "the last 10 losses were not finite")
    assert "no finite loss yet" in monitor.summary()
    monitor = fed(HaltingMonitor(0.001, name=hasty, minimum_looks=3), [1.0, 0.5, math.nan])
    assert not monitor.should_stop(), "one look that is not finite ends nothing"
    assert monitor.best_loss == 0.5


@pytest.mark.parametrize("factor", [1e-6, 1e-2, 1e6])
def test_units_change_nothing(factor: float, tmp_path: Path) -> None:
    name = head_file(tmp_path, -9.0)
    plain, scaled = fed(HaltingMonitor(0.001, name=name)), HaltingMonitor(0.001 * factor, name=name)
    fed(scaled, [factor * loss for loss in LOSSES])
    assert scaled.hazard == pytest.approx(plain.hazard, abs=1e-5)
    assert scaled.stopped_at == plain.stopped_at
    assert scaled.expected_gain.high == pytest.approx(plain.expected_gain.high * factor, rel=1e-3)


def test_a_relative_price_is_a_share_of_the_first_finite_loss(tmp_path: Path) -> None:
    name = head_file(tmp_path, -9.0)
    relative = fed(HaltingMonitor(0.01, relative=True, name=name), [math.nan, *LOSSES])
    absolute = fed(HaltingMonitor(0.01 * LOSSES[0], name=name), [math.nan, *LOSSES])
    assert relative.hazard == absolute.hazard
    after_zero = fed(HaltingMonitor(0.01, relative=True, mode="max", name=name), [0.0, 0.0])
    assert "no price yet" in after_zero.summary()
    assert not after_zero.should_stop()
    assert after_zero.update(0.3)
    assert f"price {0.01 * 0.3:g} a look" in after_zero.summary()


def test_a_metric_that_stays_0_has_no_price_and_stops_all_the_same(patient: Path) -> None:
    monitor = fed(HaltingMonitor(0.01, relative=True, mode="max", name=patient), [0.0] * (TIMES + PATIENCE + 1))
    assert monitor.stopped_at == TIMES + PATIENCE + 1


@pytest.mark.parametrize("num", [None, 2])
def test_it_goes_on_bit_for_bit(num: int | None, tmp_path: Path) -> None:
    name = head_file(tmp_path, -9.0)
    rows = [loss if num is None else (loss, 2 - loss) for loss in LOSSES]
    whole, first = (HaltingMonitor(0.01, relative=True, num=num, name=name) for _ in range(2))
    fed(first, rows[:15])
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    loaded = HaltingMonitor(0.01, relative=True, num=num, name=name)
    loaded.load_state_dict(torch.load(buffer, weights_only=True))
    others = [loaded, copy.deepcopy(first), pickle.loads(pickle.dumps(first)), first]
    fed(whole, rows)
    for other in others:
        fed(other, rows[15:])
        assert other.summary() == whole.summary()
        assert np.array_equal(other.hazard, whole.hazard)
        assert np.array_equal(other.halting_probability, whole.halting_probability)


def test_a_state_of_another_monitor_is_refused_and_changes_nothing(patient: Path) -> None:
    state = fed(HaltingMonitor(0.001, name=patient)).state_dict()
    other = fed(HaltingMonitor(0.002, name=patient), LOSSES[:3])
    before = other.summary()
    with pytest.raises(ValueError, match=r"not the state of a HaltingMonitor like this one \(expected the same price"):
        other.load_state_dict(state)
    for broken in ({}, {**state, "hidden": None}, {**state, "memory": {}}):
        with pytest.raises(ValueError, match="not the state"):
            HaltingMonitor(0.001, name=patient).load_state_dict(broken)
    assert other.summary() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"price": 0}, "price: expected a number > 0, got 0"),
        ({"price": -1.0}, "price: expected a number > 0"),
        ({"price": math.nan}, "price: expected a number > 0"),
        ({"price": "cheap"}, "price: expected a number > 0, got 'cheap'"),
        ({"price": True}, "price: expected a number > 0"),
        ({"mode": "lower"}, "mode: expected 'min' or 'max', got 'lower'"),
        ({"minimum_looks": 0}, "minimum_looks: expected a whole number >= 1"),
        ({"maximum_looks": 2.5}, "maximum_looks: expected a whole number >= 1"),
        ({"samples": -3}, "samples: expected a whole number >= 1"),
        ({"noise": -0.1}, "noise: expected a number >= 0"),
        ({"num": 0}, "num: expected a whole number >= 1"),
        ({"name": "no-such-head"}, "head of a monitor: expected a file, or one of .*, got 'no-such-head'"),
    ],
)
def test_what_it_is_made_of(arguments: dict[str, Any], message: str, patient: Path) -> None:
    with pytest.raises(ValueError, match=message):
        HaltingMonitor(**{"price": 0.1, "name": patient, **arguments})


@pytest.mark.parametrize("loss", [None, "0.5", True, 1j, [1.0, 2.0], torch.tensor([1.0, 2.0]), torch.tensor(1j)])
def test_a_loss_that_is_none_does_not_count(loss: Any, patient: Path) -> None:
    monitor = HaltingMonitor(0.001, name=patient)
    with pytest.raises(ValueError, match="loss: expected a number, got"):
        monitor.update(loss)
    assert monitor.num_looks == 0
    with pytest.raises(ValueError, match="train_loss: expected a number"):
        monitor.update(1.0, train_loss=loss if loss is not None else "x")
    with pytest.raises(ValueError, match="loss: expected 3 numbers"):
        HaltingMonitor(0.001, num=3, name=patient).update(1.0)
    assert monitor.num_looks == 0


def test_questions_before_a_look_and_of_other_lengths(patient: Path) -> None:
    monitor = HaltingMonitor(0.001, name=patient)
    for question in ("expected_gain", "expected_remaining_looks"):
        with pytest.raises(ValueError, match="call update"):
            getattr(monitor, question)
    with pytest.raises(ValueError, match="looks: expected one of 1, 3, 10, 30, got 7"):
        fed(monitor).pays(7)
    gain = monitor.expected_gain
    assert gain.low <= gain.median <= gain.high


def test_a_file_that_is_no_head(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"x.pt: not a head of a monitor, or a damaged one"):
        HaltingMonitor(0.1, name=tmp_path / "x.pt")


def test_the_picture(patient: Path) -> None:
    figure = fed(HaltingMonitor(0.001, name=patient)).plot()
    above, below = figure.axes
    assert above.lines[0].get_ydata() == pytest.approx(LOSSES)
    assert above.get_ylabel() == "validation metric (its own units)"  # with mode="max" it is no loss
    assert below.get_ylim() == (0, 1)
    assert figure._repr_png_().startswith(b"\x89PNG")  # what a notebook shows


def test_what_a_prompt_shows(patient: Path) -> None:
    assert repr(HaltingMonitor(0.01)) == "<HaltingMonitor(price=0.01): no look yet>"
    monitor = fed(HaltingMonitor(0.001, relative=True, name=patient), [0.5, 0.25])
    price = "HaltingMonitor(price=0.001, relative=True)"
    assert repr(monitor) == f"<{price}: goes on after look 2; best 0.25 at look 2>"
    several = fed(HaltingMonitor(0.001, num=3, maximum_looks=2), [[1.0, 1.0, 1.0]] * 2)
    assert repr(several) == "<HaltingMonitor(price=0.001): 3 curves, 3 of them stopped, 2 looks>"


def test_it_needs_neither_pyro_nor_arviz(tmp_path: Path) -> None:
    program = "import probact, sys; probact.HaltingMonitor; print(*{name.partition('.')[0] for name in sys.modules})"
    heavy = {"pyro", "arviz", "xarray", "matplotlib", "sklearn", "click"}
    loaded = python(tmp_path, program, forget=heavy).output().split()
    assert "probact" in loaded
    assert not heavy & set(loaded)
