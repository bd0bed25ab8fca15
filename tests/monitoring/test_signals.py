import numpy as np
import pytest
from scipy import stats

from probact.monitoring.signals import LOSSES, PLAIN, WINDOWS, CurveMemory, features, signals_of

LOSS = np.random.default_rng(0).normal(size=(60, 4)).cumsum(0) * 0.1 - np.arange(60)[:, None] * 0.05


def of(name: str) -> np.ndarray:
    signals = signals_of(LOSS)[1]
    return signals.losses[..., LOSSES.index(name)] if name in LOSSES else signals.plain[..., PLAIN.index(name)]


@pytest.mark.parametrize("window", WINDOWS)
def test_slopes_are_those_of_a_linear_regression(window: int) -> None:
    slope, error = of(f"slope over {window} looks"), of(f"standard error of the slope over {window} looks")
    for look in (window - 1, 40, 59):
        for curve in range(4):
            found = stats.linregress(range(window), LOSS[look + 1 - window : look + 1, curve])
            assert slope[look, curve] == pytest.approx(-found.slope)
            assert error[look, curve] == pytest.approx(found.stderr, rel=1e-6, abs=1e-9)


def test_falls_of_the_best() -> None:
    best = np.minimum.accumulate(LOSS, 0)
    assert of("fall from the first look to the best")[-1] == pytest.approx(LOSS[0] - best[-1])
    assert of("rise from the first look to the worst")[-1] == pytest.approx(LOSS.max(0) - LOSS[0])
    assert of("fall of the best in 6 looks")[-1] == pytest.approx(best[-7] - best[-1])
    assert of("fall of the best in the last half")[-1] == pytest.approx(best[29] - best[-1])
    assert of("fall of the best in the quarter before it")[-1] == pytest.approx(best[14] - best[29])
    assert of("what it gains on the best look before")[30] == pytest.approx(best[29] - LOSS[30])
    assert of("drop of this look")[30] == pytest.approx(LOSS[29] - LOSS[30])


def test_jitter_is_the_size_of_independent_noise_and_not_of_a_straight_fall() -> None:
    noise = np.random.default_rng(1).normal(size=(30, 400)) * 0.3 - np.arange(30)[:, None]
    jitter = signals_of(noise)[1].losses[-1, :, LOSSES.index("noise as the jitter of 24 looks shows it")]
    assert jitter.mean() == pytest.approx(0.3, rel=0.03)
    straight = signals_of(-np.arange(30.0)[:, None])[1].losses[-1, 0, -1]
    assert straight == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("factor", [1e-6, 1e-3, 1.0, 1e6])
def test_features_have_no_unit(factor: float) -> None:
    price = np.full(LOSS.shape, 0.01)
    plain = features(signals_of(LOSS)[1], price)
    assert features(signals_of(factor * LOSS)[1], factor * price) == pytest.approx(plain, abs=1e-5)


def test_a_constant_changes_the_first_loss_and_the_best_alone() -> None:
    plain, moved = signals_of(LOSS)[1], signals_of(LOSS + 100)[1]
    moved.losses[..., [LOSSES.index("first loss"), LOSSES.index("best loss")]] -= 100
    for left, right in zip(plain, moved, strict=True):
        assert left == pytest.approx(right, abs=1e-9)


def test_a_look_tells_nothing_of_earlier_ones_and_curves_nothing_of_each_other() -> None:
    whole = signals_of(LOSS)[1]
    for part in (signals_of(LOSS[:20])[1], signals_of(np.concatenate([LOSS[:20], 1e6 + LOSS[20:]]))[1]):
        for left, right in zip(part, whole, strict=True):
            assert np.array_equal(left[:20], right[:20])
    alone = signals_of(LOSS[:, 2:3])[1]
    for left, right in zip(alone, whole, strict=True):
        assert left[:, 0] == pytest.approx(right[:, 2], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_is_never_the_best(bad: float) -> None:
    memory = CurveMemory(2)
    seen = []
    for look in ([bad, 3.0], [2.0, bad], [1.0, 1.0]):
        is_best, signals = memory.take_in(np.array(look))
        seen.append(is_best.tolist())
        assert np.isfinite(signals.losses).all()
        assert np.isfinite(signals.plain).all()
    assert seen == [[False, True], [True, False], [True, True]]
    assert memory.best.tolist() == [1, 1]
    assert memory.best_look.tolist() == [3, 3]


def test_no_look_is_lost_as_memory_grows() -> None:
    long = np.linspace(5, 1, 200)[:, None]
    memory = CurveMemory(1)
    for row in long:
        memory.take_in(row)
    assert np.array_equal(memory.losses[0], long[:, 0])


def test_training_losses_are_told_apart_from_none() -> None:
    known = PLAIN.index("whether there is a training loss")
    fall = LOSSES.index("fall of the training loss in 6 looks")
    without, with_train = signals_of(LOSS)[1], signals_of(LOSS, 2 * LOSS)[1]
    assert (without.plain[..., known] == 0).all()
    assert (without.losses[..., fall] == 0).all()
    assert (with_train.plain[..., known] == 1).all()
    assert with_train.losses[-1, :, fall] == pytest.approx(2 * (LOSS[-7] - LOSS[-1]))
