"""The smallest and the largest that a setting allows, and problems that are not finite: a report all the same."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from probact import MetaTraining, Optimizee, halting_statistics, to_datatree
from probact.inference.posteriors.base import POSTERIORS
from probact.problems.linear import Quadratic
from tests.helpers.commands import ARGUMENTS, call
from tests.helpers.spoilt import spoilt
from tests.helpers.trainings import tiny


def slow(value: Any, is_slow: bool = True) -> Any:
    return pytest.param(value, marks=[pytest.mark.slow] if is_slow else [])


@pytest.fixture
def fit(capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Calls ``fit``; returns exit code, summary and what was said."""

    def fitted(*words: str) -> tuple[int, dict[str, Any], str]:
        monkeypatch.chdir(tmp_path)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            code, out, err = call(capsys, monkeypatch, "fit", *ARGUMENTS, *words, "--out", "run")
        file = tmp_path / "run" / "summary.json"
        return code, json.loads(file.read_text()) if file.exists() else {}, out + err

    return fitted


@pytest.mark.parametrize("halting", ["none", *(slow(name, name != "truncated") for name in POSTERIORS)])
def test_one_step(halting: str, fit: Any) -> None:
    """T = t = 1: nothing is left to believe, and both gaps are 0."""
    code, summary, said = fit("--horizon", "1", "--halting", halting)
    assert code == 0, said
    assert summary["halting"]["mean"] == 1
    if halting != "none":
        assert abs(summary["amortisation_gap"]) + abs(summary["horizon_gap"]) < 1e-9


@pytest.mark.parametrize(
    "words",
    [
        ("--batch", "1", "--validation-problems", "1", "--test-problems", "1"),
        slow(("--batch", "1", "--test-problems", "1", "--horizon", "1")),
        ("--batch", "1", "--test-problems", "1", "--gradient", "pes"),
        slow(("--test-problems", "1", "--halting", "none")),
        ("--test-problems", "2", "--meta-steps", "0"),
        slow(("--prior-nu", "1e-40")),
        ("--prior-nu", "1e-40", "--halting", "truncated", "--infer-horizon"),
        ("--prior-nu", "0.9999999999999999", "--halting", "graves"),
        slow(("--prior-nu", "0.9999999999999999", "--halting", "softmax", "--halting-first")),
        ("--truncate", "1", "--horizon", "2", "--objective", "log-loss", "--by-segment"),
    ],
)
def test_the_least_and_the_most(words: tuple[str, ...], fit: Any) -> None:
    code, summary, said = fit(*words)
    assert code == 0, said
    assert summary


@pytest.mark.parametrize(
    ("how", "settings"),
    [
        *((how, {}) for how in ("overflow", "cliff", "nan")),
        *(("nan", settings) for settings in ({"halting": "none"}, {"infer_horizon": True}, {"halting_first": True})),
    ],
)
def test_statistics_of_the_problems_that_are_finite(how: str, settings: dict[str, Any]) -> None:
    training = MetaTraining(tiny(**settings))
    problems = spoilt(training.family.sample, how, 1)(5, torch.Generator().manual_seed(0))
    found = halting_statistics(to_datatree(training.experiment, [training.objective], problems))
    alone = problems.select(torch.tensor([0, 2, 3, 4]))
    others = halting_statistics(to_datatree(training.experiment, [training.objective], alone))
    assert (found["num_diverged"], others["num_diverged"]) == (1, 0)
    assert math.isclose(found.stopping.loss_horizon, others.stopping.loss_horizon, rel_tol=1e-6)


def _nowhere(problems: Optimizee) -> Optimizee:
    return problems._map(lambda tensor: tensor * 1e30)


@pytest.mark.parametrize("halting", ["stick-breaking", "graves", "none"])
def test_all_problems_diverge_after_training(halting: str, fit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The held-out ones alone, of which there are six."""
    sample = Quadratic.sample

    def held_out_are_nowhere(self: Quadratic, num: int, random: torch.Generator) -> Optimizee:
        problems = sample(self, num, random)
        return _nowhere(problems) if num == 6 else problems

    monkeypatch.setattr(Quadratic, "sample", held_out_are_nowhere)
    code, summary, said = fit("--halting", halting)
    assert code == 0, said
    assert summary["num_diverged"] == 6
