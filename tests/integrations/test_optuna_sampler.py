"""Searches as a sampler and as a stop, in Optuna's own ``optimize``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

optuna = pytest.importorskip("optuna", reason="comes with the extra 'optuna'")

from probact import BlackBoxOptimizer
from probact.integrations.optuna import BlackBoxSampler, stop_when

pytestmark = pytest.mark.filterwarnings("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)


def bowl(trial: Any) -> float:
    x, n = trial.suggest_float("x", 1e-3, 1e3, log=True), trial.suggest_int("n", 1, 9)
    return float((math.log10(x) - 1) ** 2 + 0.1 * (n - 4) ** 2)


def by_hand(num: int, sign: float = 1.0, **options: Any) -> tuple[list[dict[str, Any]], BlackBoxOptimizer]:
    bounds = {"n": (1, 9), "x": (1e-3, 1e3)}
    optimizer = BlackBoxOptimizer(
        "gp-ei", bounds, log=["x"], integer=["n"], maximize=sign < 0, **(options or {"stop": None})
    )
    points = []
    while len(points) < num and not optimizer.should_stop():
        points.append(optimizer.ask())
        optimizer.tell(sign * ((math.log10(points[-1]["x"]) - 1) ** 2 + 0.1 * (points[-1]["n"] - 4) ** 2))
    return points, optimizer


def params(study: Any) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials]


def close(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("known", [False, True])
def test_trials_are_what_the_search_asks_for(sign: int, known: bool) -> None:
    space = {
        "x": optuna.distributions.FloatDistribution(1e-3, 1e3, log=True),
        "n": optuna.distributions.IntDistribution(1, 9),
    }
    study = optuna.create_study(
        sampler=BlackBoxSampler("gp-ei", space if known else None), direction="minimize" if sign > 0 else "maximize"
    )
    study.optimize(lambda trial: sign * bowl(trial), n_trials=9)
    expected, _ = by_hand(9, sign)
    close(params(study), expected)
    assert abs(study.best_value) < 0.2


def test_it_stops_where_the_search_would(capsys: pytest.CaptureFixture[str]) -> None:
    def function(x: float, y: float) -> float:
        return (x - 0.3) ** 2 + (y + 0.6) ** 2

    stop = stop_when(price=0.02)
    study = optuna.create_study(sampler=BlackBoxSampler())
    study.optimize(
        lambda trial: function(trial.suggest_float("x", -1, 1), trial.suggest_float("y", -1, 1)), 50, callbacks=[stop]
    )
    optimizer = BlackBoxOptimizer("gp-ei", {"x": (-1, 1), "y": (-1, 1)}, price=0.02)
    while not optimizer.should_stop():
        optimizer.tell(function(**optimizer.ask()))
    assert len(study.trials) == optimizer.num_queries < 50
    assert stop.stop_reason == optimizer.stop_reason
    assert f"stopped {stop.stop_reason}" in capsys.readouterr().out


def test_it_stops_studies_of_any_sampler() -> None:
    nums = []
    for price in (0.1, 5.0):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        study.optimize(bowl, n_trials=60, callbacks=[stop_when(price, verbose=False)])
        nums.append(len(study.trials))
    assert 8 <= nums[1] < nums[0] <= 60


def test_a_study_from_its_storage_goes_on(tmp_path: Path) -> None:
    for num in (4, 5):
        storage = f"sqlite:///{tmp_path}/study.db"
        study = optuna.create_study(
            study_name="one", storage=storage, load_if_exists=True, sampler=BlackBoxSampler("gp-ei")
        )
        study.optimize(bowl, n_trials=num)
    assert len(study.trials) == 9
    close(params(study)[:4], by_hand(4)[0])
    assert study.best_value < min(trial.value for trial in study.trials[:4])


def test_a_study_that_is_reloaded_for_every_trial_is_as_one_that_is_not(tmp_path: Path) -> None:
    """The place within the cell of a whole number is kept too: the values alone say no more than its middle."""
    storage = f"sqlite:///{tmp_path}/study.db"
    for _ in range(9):
        study = optuna.create_study(
            study_name="one", storage=storage, load_if_exists=True, sampler=BlackBoxSampler("gp-ei")
        )
        study.optimize(bowl, n_trials=1)
    close(params(study), by_hand(9)[0])
    places = [trial.system_attrs["probact:place"][0] for trial in study.trials[1:]]
    middles = [(trial.params["n"] - 0.5) / 9 for trial in study.trials[1:]]
    assert any(abs(place - middle) > 1e-3 for place, middle in zip(places, middles, strict=True))


def test_failed_and_pruned_trials_are_the_worst_so_far() -> None:
    def function(trial: Any) -> float:
        value = bowl(trial)
        if trial.number == 2:
            raise optuna.TrialPruned
        if trial.number == 3:
            raise RuntimeError("a fault")
        return value

    stop = stop_when(price=1e-6, verbose=False)
    study = optuna.create_study(sampler=BlackBoxSampler())
    study.optimize(function, n_trials=8, catch=[RuntimeError], callbacks=[stop])
    assert stop.optimizer is not None
    assert (stop.optimizer.num_queries, stop.optimizer.num_failed) == (8, 2)


def test_trials_side_by_side_are_elsewhere() -> None:
    study = optuna.create_study(sampler=BlackBoxSampler())
    study.optimize(bowl, n_trials=3)
    asked = [study.ask() for _ in range(3)]
    points = [(trial.suggest_float("x", 1e-3, 1e3, log=True), trial.suggest_int("n", 1, 9)) for trial in asked]
    assert len(set(points)) == 3


def test_steps_are_kept_to() -> None:
    def function(trial: Any) -> float:
        x, n = trial.suggest_float("x", 0.5, 2.5, step=0.25), trial.suggest_int("n", 10, 50, step=10)
        assert (x - 0.5) % 0.25 == 0
        assert n in range(10, 51, 10)
        return float((x - 1.5) ** 2 + (n / 10 - 2) ** 2)

    study = optuna.create_study(sampler=BlackBoxSampler())
    study.optimize(function, n_trials=15)
    assert study.best_params == {"x": 1.5, "n": 20}


def test_what_only_some_trials_have_is_drawn() -> None:
    def function(trial: Any) -> float:
        x = trial.suggest_float("x", -1, 1)
        return float(x**2 + (trial.suggest_float("y", 0, 1) if trial.number % 2 else 0))

    study = optuna.create_study(sampler=BlackBoxSampler(seed=0))
    study.optimize(function, n_trials=8, callbacks=[stop_when(1e-9, verbose=False)])
    assert all(set(trial.params) == ({"x", "y"} if trial.number % 2 else {"x"}) for trial in study.trials)
    assert study.best_value < 0.1


def test_what_it_cannot_do_is_refused_in_one_line() -> None:
    def categorical(trial: Any) -> float:
        return float(trial.suggest_categorical("kernel", ["a", "b"]) == "a")

    refusal = "expected parameters that are numbers, got 'kernel', which is categorical"
    with pytest.raises(ValueError, match=refusal):
        optuna.create_study(sampler=BlackBoxSampler()).optimize(categorical, n_trials=2)
    with pytest.raises(ValueError, match=refusal):
        optuna.create_study().optimize(categorical, n_trials=2, callbacks=[stop_when(0.1)])
    with pytest.raises(ValueError, match=refusal):
        BlackBoxSampler(search_space={"kernel": optuna.distributions.CategoricalDistribution(["a", "b"])})
    several = optuna.create_study(sampler=BlackBoxSampler(), directions=["minimize", "minimize"])
    with pytest.raises(ValueError, match="expected a study of one objective, got 2"):
        several.optimize(lambda trial: (bowl(trial), 0.0), n_trials=2)
