"""Comparisons that favour one side, planted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from probact.judging import problem_sets, tuning
from probact.judging.comparison import Entry, compare
from probact.judging.curves.prechelt import GeneralizationLoss
from probact.judging.curves.prices import Array, Looks
from probact.judging.curves.ways import Tried
from probact.judging.problem_sets import held_out_problems
from probact.rules.base import RULES
from probact.runs.experiment import Experiment
from probact.support.randomness import random_stream
from tests.helpers.properties import (
    assert_baselines_are_tuned,
    assert_problem_sets_are_apart,
    assert_sees_no_later_look,
    assert_settings_are_of_others,
)
from tests.helpers.trainings import tiny


@pytest.mark.parametrize("seen", ["tuning", "train", "validation"])
def test_one_of_the_other_sets_is_the_test_set(seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the other way round: judged on what training or its validation saw."""
    assert_problem_sets_are_apart(tiny())

    def same_stream(stream: str, seed: int, index: int = 0) -> torch.Generator:
        return random_stream(seen if stream == "test" else stream, seed, index)

    monkeypatch.setattr(problem_sets, "random_stream", same_stream)
    with pytest.raises(AssertionError):
        assert_problem_sets_are_apart(tiny())


def against_sgd(experiment: Experiment) -> Any:
    return compare(experiment, [Entry("sgd", "baseline")], [1, 6], held_out_problems(experiment))


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """Rates are tuned on few problems, from a grid without the rule's default."""
    monkeypatch.setattr(tuning, "_cached", dict)
    monkeypatch.setattr(RULES["sgd"], "learning_rates", (0.001, 0.003, 0.01, 0.03))
    assert_baselines_are_tuned(tiny(), against_sgd(tiny()))
    return tiny()


def test_a_baseline_at_its_default_rate(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table says the tuned one."""
    rates = {str(step): lr for step, lr in tuning.tuned_rates("sgd", experiment, [1, 6]).items()}
    monkeypatch.setattr(tuning, "_cached", lambda: {"quadratic": {"sgd": rates}})
    monkeypatch.setattr(RULES, "build", lambda name, options: RULES[name]())
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_baselines_are_tuned(experiment, against_sgd(experiment))


def test_a_baseline_at_a_rate_that_was_tuned_elsewhere(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_cached", lambda: {"quadratic": {"sgd": {"1": 0.001, "6": 0.001}}})
    with pytest.raises(AssertionError):
        assert_baselines_are_tuned(experiment, against_sgd(experiment))


def test_a_way_to_stop_tuned_on_the_curves_it_is_judged_by(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_settings_are_of_others()
    best = Tried.best
    monkeypatch.setattr(Tried, "best", lambda tried, sets: best(tried, range(tried.shares.shape[1])))
    with pytest.raises(AssertionError):
        assert_settings_are_of_others()


class Hasty(GeneralizationLoss):
    """It reads the look after."""

    def scores(self, looks: Looks) -> Array:
        return np.roll(super().scores(looks), -1, axis=1)


def test_a_way_to_stop_that_sees_the_look_after() -> None:
    assert_sees_no_later_look(GeneralizationLoss())
    with pytest.raises(AssertionError):
        assert_sees_no_later_look(Hasty())
