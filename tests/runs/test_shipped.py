from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from probact import LearnedOptimizer
from probact.drop_in.stop import NO_NEWS
from probact.judging.problem_sets import held_out_problems
from probact.judging.trajectory import loss_curve
from probact.runs import trained
from probact.runs.experiment import Experiment
from probact.runs.trained import TrainedOptimizer, shipped
from tests.helpers.checks import objective
from tests.helpers.commands import refused

OPTIONS = {"hidden_size": 4}


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainedOptimizer:
    """Shipped as ``small-lstm``, beside ``other``."""
    folder = tmp_path / "weights"
    folder.mkdir()
    built = objective(rule_options=OPTIONS)
    one = TrainedOptimizer(built.rule, OPTIONS, built.posterior, 0.8, 7, kl_scale=0.5)
    one.save(folder / "small-lstm.pt")
    one.save(folder / "other.pt")
    (folder / "README.md").write_text("no optimizer")
    monkeypatch.setattr("probact.runs.trained.WEIGHTS", folder)
    return one


def test_by_name(named: TrainedOptimizer, elsewhere: Path) -> None:
    """A file of that name in the working directory does not stand before it; a file of another name is a file."""
    assert shipped() == ["other", "small-lstm"]
    Path("small-lstm").write_text("no optimizer")
    params = [nn.Parameter(torch.ones(2))]
    for found in (TrainedOptimizer.load_named("small-lstm"), TrainedOptimizer.find("small-lstm")):
        assert all(map(torch.equal, found.rule.state_dict().values(), named.rule.state_dict().values()))
        assert (found.nu, found.horizon, found.kl_scale, found.head_name) == (0.8, 7, 0.5, "stick-breaking")
    optimizer = LearnedOptimizer.from_pretrained(params, "small-lstm")
    assert optimizer.stop is NO_NEWS
    shutil.copy(trained.WEIGHTS / "other.pt", "mine.pt")
    assert TrainedOptimizer.find("mine.pt").kl_scale == 0.5
    words = r"unknown optimizer 'larger-lstm': expected a file, or one that is shipped \(other, small-lstm\)"
    for find in (
        TrainedOptimizer.load_named,
        TrainedOptimizer.find,
        lambda name: LearnedOptimizer.from_pretrained(params, name),
    ):
        with pytest.raises(ValueError, match=words):
            find("larger-lstm")


def test_an_older_file(named: TrainedOptimizer, tmp_path: Path) -> None:
    content = torch.load(trained.WEIGHTS / "other.pt", weights_only=True)
    del content["kl_scale"], content["safeguard"]
    torch.save(content, tmp_path / "older.pt")
    older = TrainedOptimizer.load(tmp_path / "older.pt")
    assert (older.kl_scale, older.safeguard) == (1.0, False)


def test_list_names_them(named: TrainedOptimizer, run: Any) -> None:
    _, out, _ = run("list")
    (line,) = [line for line in out.splitlines() if line.split()[:1] == ["small-lstm"]]
    assert line.split("small-lstm")[1].strip() == "rule lstm, halting stick-breaking, trained on 7 steps"


def test_list_without_any(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probact.runs.trained.WEIGHTS", tmp_path / "absent")
    assert "shipped" not in run("list")[1]


@pytest.mark.usefixtures("undrawn")
def test_evaluated_by_name_and_as_a_file(named: TrainedOptimizer, elsewhere: Path, run: Any) -> None:
    """The same numbers either way; the price of a step and H are those that it was trained with."""
    shutil.copy(trained.WEIGHTS / "other.pt", "mine.pt")
    arguments = ["--family", "quadratic", "--baselines", "none", "--at", "2,7", "--num-optimizees", "5", "--json"]
    results = []
    for source in ("small-lstm", "mine.pt"):
        code, out, err = run("evaluate", source, *arguments)
        assert code == 0, err
        results.append(json.loads(out))
    by_name, by_file = results
    assert by_name["losses"] == by_file["losses"]
    assert by_name["stopping"] == by_file["stopping"]
    path = loss_curve(named.rule, held_out_problems(Experiment.create(family="quadratic"), 5), 7)
    assert by_name["losses"][0]["loss"]["7"] == pytest.approx(float(path[7].mean()))
    assert by_name["cost"] == pytest.approx(0.5 * 0.22314355)
    assert by_name["horizon"] == 7
    assert by_name["runs"] == [
        {
            "folder": "small-lstm",
            "seeds": [0],
            "rule": "lstm",
            "rule_options": OPTIONS,
            "halting": "stick-breaking",
            "prior_nu": 0.8,
            "horizon": 7,
            "kl_scale": 0.5,
            "safeguard": False,
            "looks": False,
            "recall": False,
        }
    ]
    assert (elsewhere / "runs" / "mine" / "evaluation-quadratic" / "evaluation.json").exists()
    both = json.loads(run("evaluate", "small-lstm", "other", *arguments)[1])
    assert [row["optimizer"] for row in both["losses"]] == ["small-lstm", "other"]
    refused(run("evaluate", "small-lstm"), "small-lstm: expected --family, what to judge it on")
    refused(run("evaluate", "tiny", "--family", "digits"), "tiny: no run there, no file", "(other, small-lstm)")
    refused(run("fit", "--begin-with", "tiny"), "tiny: no run there, no file", "(other, small-lstm)")


def test_what_is_shipped() -> None:
    """Each has a card, loads, is small and can be followed online."""
    for name in shipped():
        one = TrainedOptimizer.load_named(name)
        assert one.posterior is None or one.posterior.distribution.online, name
        assert (trained.WEIGHTS / f"{name}.pt").stat().st_size < 2**20, name
        card = (trained.WEIGHTS / f"{name}.md").read_text()
        for words in (name, "python cli.py fit", "## Limits", "Apache-2.0"):
            assert words in card, name
