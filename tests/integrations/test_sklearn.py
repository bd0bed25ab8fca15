"""``partial_fit`` and the rounds of gradient boosting of scikit-learn itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="comes with the extra 'sklearn'")
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.linear_model import Ridge, SGDClassifier
from sklearn.metrics import log_loss

from probact.integrations.sklearn import HaltingRounds, fit_until_stopped
from tests.helpers.callbacks import LOSSES, example

X = np.random.default_rng(0).normal(size=(80, 3))
y = (X[:, 0] + 0.5 * np.random.default_rng(1).normal(size=80) > 0).astype(int)


class Series:
    """A validation of given losses, which keeps what ``of`` says of the estimators that it saw."""

    def __init__(self, of: Any) -> None:
        self.losses, self.of, self.seen = iter(LOSSES), of, []

    def __call__(self, model: Any) -> float:
        self.seen.append(self.of(model))
        return next(self.losses)


def test_partial_fit(patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validation = Series(lambda model: model.coef_.copy())
    best, monitor = fit_until_stopped(
        SGDClassifier(random_state=0), X, y, validation=validation, price=1e-3, name=patient, maximum_looks=5,
        fit_options={"classes": [0, 1]},
    )  # fmt: skip
    assert (len(validation.seen), monitor.best_look) == (5, 3)
    assert np.array_equal(best.coef_, validation.seen[2])
    assert "validation: stopped at look 5: maximum_looks was reached" in capsys.readouterr().out


def test_partial_fit_stops_by_the_head(hasty: Path) -> None:
    model = SGDClassifier(random_state=0)
    best, monitor = fit_until_stopped(
        model, X, y, validation=Series(id), price=1e-3, name=hasty, fit_options={"classes": [0, 1]}, verbose=False
    )
    assert monitor.stopped_at == 2
    assert best is not model
    with pytest.raises(ValueError, match="expected an estimator that has partial_fit, got Ridge"):
        fit_until_stopped(Ridge(), X, y, validation=Series(id), price=1e-3, name=hasty)


@pytest.mark.parametrize("kind", [GradientBoostingClassifier, GradientBoostingRegressor])
def test_rounds_of_boosting(kind: Any, patient: Path) -> None:
    validation = Series(lambda model: model.predict(X))
    model = kind(n_estimators=50, random_state=0)
    rounds = HaltingRounds(validation, 1e-3, name=patient, maximum_looks=5)
    model.fit(X, y, monitor=rounds)
    assert len(model.estimators_) == 5
    staged = list(model.staged_predict(X))
    assert all(map(np.array_equal, validation.seen, staged))  # a look is at the model so far
    rounds.put_back_best(model)
    assert np.array_equal(model.predict(X), staged[2])
    assert model.n_estimators_ == 3


def test_rounds_that_end_by_themselves(patient: Path) -> None:
    model = GradientBoostingClassifier(n_estimators=30, learning_rate=1.0, random_state=0)
    rounds = HaltingRounds(lambda model: log_loss(y[40:], model.predict_proba(X[40:])), 1e-3, name=patient)
    model.fit(X[:40], y[:40], monitor=rounds)
    losses = [log_loss(y[40:], p) for p in model.staged_predict_proba(X[40:])]
    assert rounds.monitor.num_looks == 30
    assert rounds.monitor.best_look == int(np.argmin(losses)) + 1
    rounds.put_back_best(model)
    assert log_loss(y[40:], model.predict_proba(X[40:])) == pytest.approx(min(losses))


def test_what_is_refused(patient: Path) -> None:
    told = {"price": 1e-3, "name": patient}
    text = "validation: expected a callable that returns the loss of an estimator, got 5"
    with pytest.raises(ValueError, match=text):
        fit_until_stopped(SGDClassifier(), X, y, validation=5, **told)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=text):
        HaltingRounds(5, **told)  # type: ignore[arg-type]
    rounds, model = HaltingRounds(Series(id), maximum_looks=5, **told), GradientBoostingRegressor(random_state=0)
    with pytest.raises(ValueError, match="put_back_best: expected a look with a finite validation before, got none"):
        rounds.put_back_best(model)
    model.fit(X, y, monitor=rounds)
    with pytest.raises(ValueError, match="put_back_best: expected the estimator that was fitted with this monitor="):
        rounds.put_back_best(GradientBoostingRegressor())
    for _ in range(2):  # once more changes nothing
        rounds.put_back_best(model)
        assert model.n_estimators_ == len(model.estimators_) == 3


def test_the_example(patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monitors = example("sklearn_loops", name=patient, maximum_looks=12)
    assert [monitor.num_looks for monitor in monitors] == [12, 12]
    assert "best" in capsys.readouterr().out
