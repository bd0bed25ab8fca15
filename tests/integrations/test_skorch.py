"""The callback in skorch's own ``fit``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("skorch", reason="comes with the extra 'skorch'")
from sklearn.base import clone
from skorch import NeuralNetRegressor
from skorch.callbacks import Callback
from torch import nn

from probact.integrations.skorch import HaltingCallback
from tests.helpers.callbacks import LOSSES, example

pytestmark = pytest.mark.filterwarnings("ignore")
X = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
y = X[:, :1]


class Given(Callback):
    """Records a given series of losses before the other callbacks see the history."""

    def __init__(self, losses: Any = LOSSES) -> None:
        self.losses = losses
        self.seen_: list[Any] = []

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        value = self.losses[len(self.seen_)]
        if isinstance(value, BaseException):
            raise value
        self.seen_.append(net.module_.weight.detach().clone())
        net.history.record("given", value)


def made(callback: HaltingCallback, losses: Any = LOSSES, epochs: int = 8, verbose: int = 0) -> tuple[Any, Given]:
    given = Given(losses)
    net = NeuralNetRegressor(
        nn.Linear, module__in_features=2, module__out_features=1, max_epochs=epochs, verbose=verbose,
        callbacks=[("given", given), ("halting", callback)],
    )  # fmt: skip
    return net, given


def test_it_stops_and_puts_the_best_back(patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = HaltingCallback(1e-3, "given", name=patient, maximum_looks=5)
    net, given = made(callback, verbose=1)
    net.fit(X, y)
    assert len(net.history) == 5
    assert torch.equal(net.module_.weight, given.seen_[2])
    assert callback.stop_reason_ == "maximum_looks was reached"
    assert "given: stopped at look 5: maximum_looks was reached; best 1 at look 3" in capsys.readouterr().out


def test_it_stops_by_the_head(hasty: Path) -> None:
    net, _ = made(HaltingCallback(1e-3, "given", name=hasty))
    assert len(net.fit(X, y).history) == 2


@pytest.mark.parametrize("losses", [LOSSES, (*LOSSES[:5], KeyboardInterrupt())])
def test_the_best_are_put_back_when_training_ends_by_itself_or_by_ctrl_c(losses: Any, patient: Path) -> None:
    net, given = made(HaltingCallback(1e-3, "given", name=patient), losses)
    net.fit(X, y)
    assert torch.equal(net.module_.weight, given.seen_[2])


def test_the_best_are_not_put_back_where_that_is_not_asked_for(patient: Path) -> None:
    net, given = made(HaltingCallback(1e-3, "given", name=patient, restore_best=False))
    net.fit(X, y)
    assert torch.equal(net.module_.weight, given.seen_[-1])


def test_partial_fit_goes_on_and_fit_begins_anew(patient: Path) -> None:
    whole, parts = (HaltingCallback(1e-3, "given", name=patient, maximum_looks=7) for _ in range(2))
    made(whole)[0].fit(X, y)
    net, given = made(parts, epochs=4)
    net.fit(X, y).partial_fit(X, y)
    assert parts.monitor_.summary() == whole.monitor_.summary()
    given.seen_.clear()
    net.fit(X, y)
    assert parts.monitor_.num_looks == 4


def test_a_clone_has_a_monitor_of_its_own(patient: Path) -> None:
    callback = HaltingCallback(1e-3, "given", name=patient)
    net, _ = made(callback)
    other = clone(net).set_params(callbacks__halting__price=1.0).fit(X, y)
    assert dict(other.callbacks_)["halting"].monitor_.price == 1.0
    assert not hasattr(callback, "watcher_")


def test_a_value_that_is_not_finite(patient: Path) -> None:
    losses = (2.0, math.nan, *LOSSES[2:])
    for check, epochs in ((True, 2), (False, 8)):
        net, _ = made(HaltingCallback(1e-3, "given", name=patient, check_finite=check), losses)
        assert len(net.fit(X, y).history) == epochs


def test_what_is_wrong_is_said_in_one_line(patient: Path) -> None:
    with pytest.raises(ValueError, match="no metric 'valid_acc' to look at: choose from dur, given, train_loss, valid"):
        made(HaltingCallback(1e-3, "valid_acc", name=patient))[0].fit(X, y)
    with pytest.raises(ValueError, match="mode: expected 'min' or 'max', got 'low'"):
        made(HaltingCallback(1e-3, mode="low", name=patient))[0].fit(X, y)


def test_the_example(patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = example("skorch_callback", max_epochs=12, name=patient)
    assert callback.monitor_.num_looks == 12
    assert "best" in capsys.readouterr().out
