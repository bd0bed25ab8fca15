"""The callback in XGBoost's own training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

xgboost = pytest.importorskip("xgboost", reason="comes with the extra 'xgboost'")

from probact import HaltingMonitor
from probact.integrations.xgboost import HaltingCallback
from tests.helpers.callbacks import LOSSES, example

pytestmark = pytest.mark.filterwarnings("ignore")
X = np.random.default_rng(0).normal(size=(80, 3))
y = X[:, 0] + 0.3 * np.random.default_rng(1).normal(size=80)
TRAIN, VALID = xgboost.DMatrix(X[:40], y[:40]), xgboost.DMatrix(X[40:], y[40:])
PARAMS = {"nthread": 1, "disable_default_eval_metric": True}


def trained(callback: Any, losses: Any = LOSSES, rounds: int = 8) -> Any:
    """On a metric "given" of a given series; the training data are evaluated first."""
    found = {True: iter([9.0] * rounds), False: iter(losses)}

    def given(_: Any, data: Any) -> tuple[str, float]:
        return "given", next(found[data is TRAIN])

    evals = [(TRAIN, "train"), (VALID, "valid")]
    return xgboost.train(
        PARAMS, TRAIN, rounds, evals=evals, custom_metric=given, callbacks=[callback], verbose_eval=False
    )


def test_it_stops_and_ends_with_the_best(patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = HaltingCallback(1e-3, name=patient, maximum_looks=5)
    model = trained(callback)
    assert (callback.monitor.num_looks, model.num_boosted_rounds(), model.best_iteration) == (5, 3, 2)
    assert "valid-given: stopped at look 5: maximum_looks was reached; best 1 at look 3" in capsys.readouterr().out


def test_it_stops_by_the_head(hasty: Path) -> None:
    assert trained(HaltingCallback(1e-3, name=hasty, restore_best=False)).num_boosted_rounds() == 2


def test_the_best_are_left_when_training_ends_by_itself_and_each_begins_anew(patient: Path) -> None:
    callback = HaltingCallback(1e-3, name=patient)
    for _ in range(2):
        assert trained(callback).num_boosted_rounds() == 3
        assert callback.monitor.num_looks == 8
    all_kept = trained(HaltingCallback(1e-3, name=patient, restore_best=False))
    assert (all_kept.num_boosted_rounds(), all_kept.best_iteration) == (8, 2)


def test_cross_validation_and_the_scikit_learn_interface(patient: Path) -> None:
    callback = HaltingCallback(1e-3, name=patient, maximum_looks=6)
    found = xgboost.cv({"nthread": 1}, xgboost.DMatrix(X, y), 20, nfold=2, callbacks=[callback])
    assert len(found) == callback.monitor.best_look
    assert callback.monitor.num_looks == 6
    assert callback.monitor.best_loss == pytest.approx(found["test-rmse-mean"].min())
    model = xgboost.XGBRegressor(n_estimators=40, n_jobs=1, callbacks=[callback])
    model.fit(X[:40], y[:40], eval_set=[(X[40:], y[40:])], verbose=False)
    expected = HaltingMonitor(1e-3, name=patient, maximum_looks=6)
    for loss in model.evals_result()["validation_0"]["rmse"]:
        expected.update(loss)
    assert callback.monitor.summary() == expected.summary()
    assert model.get_booster().num_boosted_rounds() == expected.best_look


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"metric": "auc"}, "no metric 'validation-auc' to look at: choose from train-given, valid-given"),
        ({"data": "test"}, "no metric 'test-metric' to look at: choose from train-given, valid-given"),
    ],
)
def test_a_metric_that_is_not_there(told: Any, text: str, patient: Path) -> None:
    with pytest.raises(ValueError, match=text):
        trained(HaltingCallback(1e-3, name=patient, **told))


def test_a_wrong_mode(patient: Path) -> None:
    with pytest.raises(ValueError, match="mode: expected 'min' or 'max', got 'high'"):
        HaltingCallback(1e-3, mode="high", name=patient)
    with pytest.warns(
        UserWarning, match="valid-given: the first of 4 looks is the best with mode='max'; .* mode='min'"
    ):
        trained(HaltingCallback(1e-3, mode="max", name=patient, maximum_looks=4))


def test_the_example(patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = example("xgboost_callback", name=patient, maximum_looks=15)
    assert callback.monitor.num_looks == 15
    assert "best" in capsys.readouterr().out
