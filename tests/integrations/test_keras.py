"""The callback in Keras's own ``fit``, on its torch backend."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="comes with the extra 'keras'")

from probact.integrations.keras import HaltingCallback
from tests.helpers.callbacks import LOSSES, example

pytestmark = pytest.mark.filterwarnings("ignore")


class Given(keras.callbacks.Callback):
    """Puts a given series of losses into the logs before the other callbacks see them."""

    def __init__(self, losses: Any, every: int = 1) -> None:
        super().__init__()
        self.losses, self.every, self.seen = iter(losses), every, []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.seen.append(self.model.get_weights())
        if epoch % self.every == 0:
            logs["val_loss"] = next(self.losses)
            if isinstance(logs["val_loss"], BaseException):
                raise logs["val_loss"]


def made() -> Any:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def fitted(callback: HaltingCallback, losses: Any = LOSSES, epochs: int = 8, model: Any = None, every: int = 1) -> Any:
    given, model = Given(losses, every), model or made()
    X = np.random.default_rng(0).normal(size=(4, 2))
    model.fit(X, X[:, :1], epochs=epochs, verbose=0, callbacks=[given, callback])
    return model, given.seen


def equal(model: Any, weights: Any) -> bool:
    return all(map(np.array_equal, model.get_weights(), weights))


def test_it_stops_and_puts_the_best_back(patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = HaltingCallback(1e-3, name=patient, maximum_looks=5)
    model, seen = fitted(callback)
    assert len(seen) == 5
    assert equal(model, seen[2])
    assert callback.stop_reason == "maximum_looks was reached"
    assert "val_loss: stopped at look 5: maximum_looks was reached; best 1 at look 3" in capsys.readouterr().out


def test_it_stops_by_the_head(hasty: Path) -> None:
    assert len(fitted(HaltingCallback(1e-3, name=hasty))[1]) == 2


def test_the_best_are_put_back_when_training_ends_by_itself(patient: Path) -> None:
    model, seen = fitted(HaltingCallback(1e-3, name=patient))
    assert equal(model, seen[2])
    model, seen = fitted(HaltingCallback(1e-3, name=patient, restore_best=False))
    assert equal(model, seen[7])


def test_nothing_to_put_back(patient: Path) -> None:
    for callback, said in (
        (HaltingCallback(1e-3, name=patient, restore_best=False), "restore_best=True before, got none"),
        (HaltingCallback(1e-3, name=patient), "a look with a finite val_loss before, got none"),
    ):
        if not callback.restore_best:
            fitted(callback)
        with pytest.raises(ValueError, match=f"put_back_best: expected {said}"):
            callback.put_back_best()


def test_what_is_put_back_by_hand_after_ctrl_c(patient: Path) -> None:
    callback, model = HaltingCallback(1e-3, name=patient), made()
    with pytest.raises(KeyboardInterrupt):
        fitted(callback, (2.0, 1.0, 1.5, KeyboardInterrupt()), model=model)
    before = model.get_weights()
    callback.put_back_best()
    assert not equal(model, before)
    assert callback.monitor.best_look == 2


def test_a_second_fit_and_another_process_go_on(patient: Path) -> None:
    whole, parts = (HaltingCallback(1e-3, name=patient, maximum_looks=7) for _ in range(2))
    fitted(whole)
    model, _ = fitted(parts, LOSSES[:2], 2)
    fitted(parts, LOSSES[2:4], 2, model)
    other = HaltingCallback(1e-3, name=patient, maximum_looks=7)
    other.load_state_dict(parts.state_dict())
    fitted(other, LOSSES[4:], 4, made())
    assert other.monitor.num_looks == 7
    assert other.monitor.summary() == whole.monitor.summary()
    with pytest.raises(ValueError, match="expected the state of a callback of probact"):
        other.load_state_dict({})


def test_only_some_epochs_are_validated(patient: Path) -> None:
    callback = HaltingCallback(1e-3, name=patient)
    model, seen = fitted(callback, every=3)
    assert callback.monitor.num_looks == 3
    assert equal(model, seen[6])


def test_a_value_that_is_not_finite(patient: Path) -> None:
    losses = (2.0, math.nan, *LOSSES[2:])
    assert len(fitted(HaltingCallback(1e-3, name=patient, check_finite=True), losses)[1]) == 2
    assert len(fitted(HaltingCallback(1e-3, name=patient), losses)[1]) == 8


def test_what_is_wrong_is_said_in_one_line(patient: Path) -> None:
    with pytest.raises(ValueError, match="no metric 'val_acc' to look at: choose from loss, val_loss"):
        fitted(HaltingCallback(1e-3, "val_acc", name=patient))
    with pytest.warns(UserWarning, match=r"no metric 'val_loss' to look at: choose from none \(no validation\)"):
        made().fit(np.ones((2, 2)), np.ones(2), verbose=0, callbacks=[HaltingCallback(1e-3, name=patient)])


def test_the_example(patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = example("keras_callback", max_epochs=12, name=patient)
    assert callback.monitor.num_looks == 12
    assert callback.monitor.best_loss < 1
    assert "best" in capsys.readouterr().out
