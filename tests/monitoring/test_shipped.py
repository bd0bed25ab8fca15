"""What ``HaltingMonitor`` decides by the head that ships."""

from itertools import count
from pathlib import Path

import numpy as np
import pytest

from probact import HaltingMonitor
from probact.curves import corpus
from probact.curves.corpus import Curves
from probact.monitoring.head import CurveHead

STEPS = np.arange(300)
FALL = 0.1 + 2.2 * np.exp(-STEPS / 15)
PRICES = (1e-4, 1e-3, 1e-2)


def stopped(losses: np.ndarray, price: float, **settings: object) -> HaltingMonitor:
    monitor = HaltingMonitor(price, **settings)  # type: ignore[arg-type]
    for loss in losses:
        monitor.update(loss)
        if monitor.should_stop():
            break
    return monitor


def oracle(losses: np.ndarray, price: float) -> int:
    return int((np.minimum.accumulate(losses) + price * STEPS[: len(losses)]).argmin()) + 1


def rising(height: float, peak: int = 4) -> np.ndarray:
    bump = height * np.exp(-(((STEPS - peak) * 2 / peak) ** 2)) * (STEPS > 0)
    return 0.1 + 2.2 * np.exp(-np.maximum(STEPS - peak - 2, 0) / 15) + bump


def spiked(*looks: int) -> np.ndarray:
    losses = FALL.copy()
    losses[list(looks)] *= 10
    return losses


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize(
    "losses",
    [FALL, rising(0.1, 2), rising(0.3, 2), rising(1), rising(10), spiked(1, 2), spiked(8), spiked(3, 20), spiked(30)],
    ids=count(),
)
def test_an_early_rise_or_spike_never_ends_a_run(losses: np.ndarray, price: float) -> None:
    """It stops about where a further look stops to pay, on a fall that pays until then."""
    monitor, best = stopped(losses, price), oracle(losses, price)
    assert monitor.should_stop()
    J = monitor.best_loss + price * monitor.stopped_at
    assert abs(monitor.stopped_at - best) <= 0.3 * best
    assert J - (losses[:best].min() + price * best) < 0.02 * losses[0]


@pytest.mark.parametrize("price", PRICES)
def test_overfitting_ends_a_run(price: float) -> None:
    losses = FALL + 0.004 * np.maximum(STEPS - 30, 0)
    monitor = stopped(losses, price)
    assert losses[: monitor.stopped_at].min() == pytest.approx(losses.min(), abs=20 * price)
    assert monitor.stopped_at < 90


@pytest.mark.parametrize("factor", [1e-6, 1e-3, 1e6])
@pytest.mark.parametrize("price", PRICES)
def test_units_change_no_decision(price: float, factor: float) -> None:
    noisy = FALL + 0.02 * np.random.default_rng(0).normal(size=300)
    plain, scaled = stopped(noisy, price), stopped(factor * noisy, factor * price)
    assert (plain.stopped_at, plain.best_look) == (scaled.stopped_at, scaled.best_look)


def test_it_expects_what_comes() -> None:
    early, late = stopped(FALL[:10], 1e-3), stopped(FALL, 1e-3)
    assert 0.3 < early.expected_gain.median < early.expected_gain.high
    assert early.pays(10) > 0.9
    assert early.expected_remaining_looks > 20
    assert abs(late.expected_gain.median) < 0.02
    assert late.pays(10) < 0.5
    assert late.expected_remaining_looks < 10


def test_it_says_what_it_was_trained_on() -> None:
    said = CurveHead.load("curves").said
    assert int(said["curves"]) >= 2000
    assert "fashion-mnist" not in said["sets"]
    assert "/" not in said["command"]


def test_real_curves_that_it_never_saw_are_stopped_better_than_by_patience_10() -> None:
    for name in ("wine-mlp", "waves-mlp", "fashion-mnist-mlp"):
        curves = Curves.load(Path(corpus.__file__).with_name("sample") / f"{name}.npz")
        valid, test = curves.valid.astype(float), curves.test.astype(float)
        monitor = HaltingMonitor(1e-2, num=curves.num)
        for look in range(int(curves.lengths.max()) + 1):
            if not monitor.should_stop().all():
                monitor.update(np.nan_to_num(valid[:, look], nan=np.inf, posinf=np.inf))
        J = {"head": 0.0, "patience": 0.0}
        for row, length in enumerate(curves.lengths):
            seen = np.where(np.isfinite(valid[row, : length + 1]), valid[row, : length + 1], np.inf)
            best = [int(seen[: look + 1].argmin()) for look in range(length + 1)]
            waits = [look for look in range(length + 1) if look - best[look] >= 10]
            ends = {"head": min(monitor.stopped_at[row] - 1, length), "patience": waits[0] if waits else length}
            for way, end in ends.items():
                J[way] += min(test[row, best[end]], 1e3) + 1e-2 * end
        assert J["head"] < J["patience"], name
