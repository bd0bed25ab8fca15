"""A problem that goes bad has no part in the update, and what was left out is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from probact.problems.linear import Quadratic
from probact.runs.run import Run
from probact.training.meta_training import MetaTraining
from probact.training.soundness import unsound
from probact.unrolling.rollout import Rollout
from tests.helpers.commands import ARGUMENTS, call
from tests.helpers.spoilt import HOW, same_as_without, spoilt, trained
from tests.helpers.trainings import same, tiny

pytestmark = pytest.mark.usefixtures("undrawn")

SEGMENTS = {"objective": "log-loss", "by_segment": True, "truncate": 2}
TRAININGS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "subspace": {"rule": "subspace"},
    "hierarchical": {"rule": "hierarchical"},
    "hand-designed": {"rule": "adam"},
    "safeguarded": {"safeguard": True},
    "no posterior": {"halting": "none"},
    "softmax": {"halting": "softmax"},
    "truncated": {"halting": "truncated"},
    "graves": {"halting": "graves"},
    "sample": {"estimator": "sample"},
    "enumerate": {"estimator": "enumerate"},
    "inferred horizon": {"infer_horizon": True},
    "halting first": {"halting_first": True},
    "by segment": SEGMENTS,
    "recomputed": {"recompute": True},
    "through the path": {"through_path": True},
    "pes": {"gradient": "pes", "truncate": 2},
    "pes of a safeguarded rule": {"gradient": "pes", "truncate": 2, "safeguard": True},
    "imitation": {"imitate": "adam", "imitation_lr": 0.1, "imitation_steps": 3},
}


WALKS = ("lstm", "by segment", "recomputed", "pes")
"""Trainings that go along the steps in a way of their own; whatever else a training does, it gets the same rollouts."""


@pytest.mark.parametrize(
    ("training", "how"),
    [(name, how) for name in TRAININGS for how in HOW if name in WALKS or how in ("overflow", "nan")],
)
def test_the_update_is_bitwise_that_of_the_batch_without_it(training: str, how: str) -> None:
    settings = tiny(meta_steps=2, validate_every=2, horizon=4, **TRAININGS[training])
    ours, without = same_as_without(settings, how, which=1)
    assert same(ours.objective.state_dict(), without)
    assert (ours.skipped, ours.left_out) == (0, 2)


@pytest.mark.parametrize("which", [0, 3])
def test_wherever_in_the_batch_it_stands(which: int) -> None:
    ours, without = same_as_without(tiny(meta_steps=2, validate_every=2), "overflow", which)
    assert same(ours.objective.state_dict(), without)


def test_a_finite_giant_is_beyond_all_bounds_and_a_large_loss_is_not() -> None:
    nll = torch.tensor([[1.0, 1e3, 1.0, 1.0, 1e12], [1.0, 1e3, 1e12, 1.0, 1.0]])
    features = torch.zeros(1, 5, 2)
    features[0, 3, 1] = torch.nan
    assert unsound(Rollout(nll, features, {})).tolist() == [False, False, True, True, True]
    assert unsound(Rollout(1e20 * nll, features, {})).tolist() == [False, False, True, True, True]


def test_a_problem_at_the_border_does_not_keep_the_untrained_weights() -> None:
    """One of the validation problems is NaN away from theta_0: with trained weights it diverges, untrained or not."""
    training = trained(tiny(meta_steps=20, validate_every=5, batch=16, validation_problems=8), "cliff", which=0)
    untrained = MetaTraining(training.experiment)
    untrained._sample = spoilt(untrained._sample, "cliff", 0)  # type: ignore[method-assign]
    assert training.best_validation < 0.9 * untrained.validate().loss
    assert not same(training.best_weights, untrained.objective.state_dict())
    assert training.best_diverged == 1


def test_a_batch_of_bad_problems_alone_is_skipped() -> None:
    training = MetaTraining(tiny(meta_steps=3))
    before = {name: weight.clone() for name, weight in training.objective.state_dict().items()}
    sample = training._sample
    training._sample = lambda *given: _all_bad(sample(*given))  # type: ignore[method-assign]
    records = list(training)
    found = [(record.skipped, record.updates, record.left_out) for record in records]
    assert found == [(1, 1, 4), (2, 2, 8), (3, 3, 12)]
    assert same(training.objective.state_dict(), before)


def _all_bad(problems: Any) -> Any:
    return problems.select(torch.arange(problems.num))._map(lambda tensor: tensor * 1e30)


def fit(capsys: Any, monkeypatch: pytest.MonkeyPatch, folder: Path, how: str) -> tuple[int, str, str]:
    """``fit`` on problems of which the second of a batch goes bad; ``all``: each of them."""
    if how == "all":
        sample = MetaTraining._sample
        monkeypatch.setattr(MetaTraining, "_sample", lambda *given: _all_bad(sample(*given)))
    else:
        monkeypatch.setattr(Quadratic, "sample", spoilt(Quadratic.sample, how, 1))
    monkeypatch.chdir(folder)
    return call(capsys, monkeypatch, "fit", *ARGUMENTS, "--out", "run")


def test_what_was_left_out_stands_in_the_progress_line_and_the_summary(
    capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, out, err = fit(capsys, monkeypatch, tmp_path, "cliff")
    assert code == 0, err
    assert "6 problems diverged, 0 updates skipped" in err
    assert "6 problems" in out
    assert Run.open(tmp_path / "run").records()["seed 0"][-1]["left_out"] == 6


def test_a_problem_that_is_never_finite_does_not_fail_the_report(
    capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, out, err = fit(capsys, monkeypatch, tmp_path, "nan")
    assert code == 0, err
    assert (tmp_path / "run" / "summary.json").exists()
    assert "nan" not in out.lower()


def test_a_run_that_skipped_most_updates_says_that_it_failed(
    capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, _, err = fit(capsys, monkeypatch, tmp_path, "all")
    assert code == 1
    assert err.splitlines()[-1].startswith("Error: seed 0: training failed: 6 of 6 updates were skipped")


@pytest.mark.parametrize(
    "words",
    [
        (),
        pytest.param(("--halting", "none"), marks=pytest.mark.slow),
        pytest.param(("--chains", "2", "--jobs", "2"), marks=pytest.mark.slow),
        ("--validate-every", "4"),
    ],
    ids=" ".join,
)
def test_so_does_one_whose_first_update_went_too_far(words: tuple[str, ...], elsewhere: Path, run: Any) -> None:
    code, out, err = run("fit", *ARGUMENTS, "--lr", "1e9", *words, "--out", "run")
    assert code == 1
    assert "TRAINING FAILED: training left out" in out
    assert "Error: seed 0: training failed: 5 of 6 updates were skipped" in err
    assert run("fit", "--resume", "run")[0] == 1
    code, out, err = run("evaluate", "--num-optimizees", "4", "--baselines", "none")  # the latest run
    assert code == 0
    assert "run: seed 0: training failed: 5 of 6 updates were skipped" in err.splitlines()[0]
    assert "export" not in out
