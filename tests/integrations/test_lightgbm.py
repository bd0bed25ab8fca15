"""The callback in LightGBM's own training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

lightgbm = pytest.importorskip("lightgbm", reason="comes with the extra 'lightgbm'")

from probact.integrations.lightgbm import HaltingCallback
from tests.helpers.callbacks import LOSSES, example

pytestmark = pytest.mark.filterwarnings("ignore")
PARAMS = {"objective": "regression", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 2, "metric": "None"}
X = np.random.default_rng(0).normal(size=(80, 3))
y = X[:, 0] + 0.3 * np.random.default_rng(1).normal(size=80)


def trained(callback: Any, losses: Any = LOSSES, is_max: bool = False, rounds: int = 8, **settings: Any) -> Any:
    """On a metric "given" of a given series; the training data are evaluated first."""
    found = {"train": iter([9.0] * rounds), "valid": iter(losses)}
    train = lightgbm.Dataset(X[:40], y[:40])

    def given(_: Any, data: Any) -> tuple[str, float, bool]:
        return "given", next(found["train" if data is train else "valid"]), is_max

    valid = train.create_valid(X[40:], y[40:])
    settings = {"valid_sets": [train, valid], "valid_names": ["mine", "other"], **settings}
    return lightgbm.train(PARAMS, train, rounds, feval=given, callbacks=[callback], **settings)


def test_it_stops_and_predicts_by_the_best(patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = HaltingCallback(1e-3, name=patient, maximum_looks=5)
    model = trained(callback)
    assert (callback.monitor.num_looks, model.current_iteration(), model.best_iteration) == (5, 3, 3)
    assert model.best_score["other"]["given"] == 1.0
    assert "other's given: stopped at look 5: maximum_looks was reached; best 1" in capsys.readouterr().out


def test_it_stops_by_the_head(hasty: Path) -> None:
    assert trained(HaltingCallback(1e-3, name=hasty)).current_iteration() == 2


def test_the_best_count_when_training_ends_by_itself_and_each_begins_anew(patient: Path) -> None:
    callback = HaltingCallback(1e-3, name=patient)
    for _ in range(2):
        model = trained(callback)
        assert (callback.monitor.num_looks, model.current_iteration(), model.best_iteration) == (8, 3, 3)


def test_the_direction_is_the_metrics(patient: Path) -> None:
    callback = HaltingCallback(1e-3, name=patient)
    assert trained(callback, is_max=True).best_iteration == 1
    assert callback.monitor.mode == "max"


def test_cross_validation_and_the_scikit_learn_interface(patient: Path) -> None:
    callback = HaltingCallback(1e-3, name=patient, maximum_looks=6)
    found = lightgbm.cv(
        {**PARAMS, "metric": "l2"}, lightgbm.Dataset(X, y), 20, nfold=2, stratified=False, callbacks=[callback]
    )
    losses = found["valid l2-mean"]
    assert len(losses) == callback.monitor.best_look == int(np.argmin(losses)) + 1
    model = lightgbm.LGBMRegressor(n_estimators=40, min_child_samples=2, n_jobs=1, verbosity=-1)
    model.fit(X[:40], y[:40], eval_set=[(X[40:], y[40:])], callbacks=[callback])
    losses = [np.square(model.predict(X[40:], num_iteration=k) - y[40:]).mean() for k in range(1, 7)]
    assert callback.monitor.num_looks == 6
    assert callback.monitor.best_loss == pytest.approx(min(losses))
    assert model.best_iteration_ == int(np.argmin(losses)) + 1


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"metric": "auc"}, "no metric \"validation's auc\" to look at: choose from mine's given, other's given"),
        ({"data": "test"}, "no metric \"test's metric\" to look at: choose from mine's given, other's given"),
    ],
)
def test_a_metric_that_is_not_there(told: Any, text: str, patient: Path) -> None:
    with pytest.raises(ValueError, match=text):
        trained(HaltingCallback(1e-3, name=patient, **told))


def test_dart_is_refused(patient: Path) -> None:
    data = lightgbm.Dataset(X, y)
    with pytest.raises(
        ValueError, match="expected boosting other than dart, whose later rounds change the trees befor"
    ):
        lightgbm.train(
            {"boosting": "dart", "verbosity": -1}, data, 3, valid_sets=[data.create_valid(X, y)],
            callbacks=[HaltingCallback(1e-3, name=patient)],
        )  # fmt: skip


def test_the_example(patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = example("lightgbm_callback", name=patient, maximum_looks=15)
    assert callback.monitor.num_looks == 15
    assert "best" in capsys.readouterr().out
