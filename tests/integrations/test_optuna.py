"""The callback in Optuna's own ``optimize``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

optuna = pytest.importorskip("optuna", reason="comes with the extra 'optuna'")

from probact import HaltingMonitor
from probact.integrations.optuna import HaltingCallback
from tests.helpers.callbacks import LOSSES, example

pytestmark = pytest.mark.filterwarnings("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)


class Given:
    """Values of a given series; where there is an exception it is raised."""

    def __init__(self, values: Any = LOSSES) -> None:
        self.values = iter(values)

    def __call__(self, trial: Any) -> float:
        value = next(self.values)
        if isinstance(value, Exception):
            raise value
        return value


def test_it_looks_at_the_best_value_so_far(patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study, callback = optuna.create_study(), HaltingCallback(1e-3, name=patient, maximum_looks=5)
    study.optimize(Given(), n_trials=8, callbacks=[callback])
    assert len(study.trials) == 5
    expected = HaltingMonitor(1e-3, name=patient, maximum_looks=5, minimum_looks=5)
    for value in (3.0, 2.0, 1.0, 1.0, 1.0):
        expected.update(value)
    assert callback.monitor.summary() == expected.summary()
    assert "best value: stopped at look 5" in capsys.readouterr().out


def test_it_stops_by_the_head_but_not_before_the_minimum(hasty: Path) -> None:
    study, callback = optuna.create_study(), HaltingCallback(1e-3, name=hasty, minimum_looks=4, verbose=False)
    study.optimize(Given(), callbacks=[callback])
    assert len(study.trials) == 4
    assert callback.stop_reason == "another look is not expected to be worth its price"


def test_the_direction_is_the_studys(patient: Path) -> None:
    study, callback = optuna.create_study(direction="maximize"), HaltingCallback(1e-3, name=patient)
    study.optimize(Given([1.0, 4.0, 2.0]), n_trials=3, callbacks=[callback])
    assert (callback.monitor.mode, callback.monitor.best_loss, callback.monitor.best_look) == ("max", 4.0, 2)


def test_pruned_and_failed_trials_are_paid_for(patient: Path) -> None:
    study, callback = optuna.create_study(), HaltingCallback(1e-3, name=patient)
    values = (optuna.TrialPruned(), 3.0, optuna.TrialPruned(), RuntimeError("a fault"), 2.0)
    study.optimize(Given(values), n_trials=5, callbacks=[callback], catch=[RuntimeError])
    assert (callback.monitor.num_looks, callback.monitor.best_look) == (4, 4)  # from the first value on


def test_a_study_from_its_storage_goes_on(patient: Path, tmp_path: Path) -> None:
    def optimize(values: Any, num: int) -> HaltingCallback:
        storage = f"sqlite:///{tmp_path}/study.db"
        study = optuna.create_study(study_name="one", storage=storage, load_if_exists=True)
        callback = HaltingCallback(1e-3, name=patient, maximum_looks=7, verbose=False)
        study.optimize(Given(values), n_trials=num, callbacks=[callback])
        return callback

    optimize(LOSSES[:4], 4)
    second = optimize(LOSSES[4:], 4)
    whole = HaltingCallback(1e-3, name=patient, maximum_looks=7, verbose=False)
    optuna.create_study().optimize(Given(), n_trials=8, callbacks=[whole])
    assert second.monitor.num_looks == 7
    assert second.monitor.summary() == whole.monitor.summary()


def test_several_threads(patient: Path) -> None:
    study, callback = optuna.create_study(), HaltingCallback(1e-3, name=patient, maximum_looks=30, verbose=False)
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=60, n_jobs=4, callbacks=[callback])
    assert callback.monitor.num_looks == 30
    assert 30 <= len(study.trials) < 40


def test_several_objectives_are_refused(patient: Path) -> None:
    study = optuna.create_study(directions=["minimize", "minimize"])
    with pytest.raises(ValueError, match="expected a study of one objective, got 2"):
        study.optimize(lambda _: (1.0, 2.0), n_trials=1, callbacks=[HaltingCallback(1e-3, name=patient)])


def test_the_example(patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = example("optuna_study", name=patient, maximum_looks=15)
    assert callback.monitor.num_looks == 15
    assert "best" in capsys.readouterr().out
