from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from probact import LearnedOptimizer
from probact.runs.run import Run
from probact.runs.trained import TrainedOptimizer
from probact.stopping.base import StopRule
from probact.stopping.rules import Hazard
from tests.helpers.commands import ARGUMENTS, refused
from tests.helpers.trainings import TINY

pytestmark = pytest.mark.usefixtures("undrawn")


def test_export(elsewhere: Path, run: Any, fitted: Any) -> None:
    """One file with the weights of the training asked for; a run of several needs to be told which."""
    fitted("two", "--prior-nu", "0.9", "--chains", "2")
    code, out, err = run("export", "two", "--seed", "1", "--out", "one.pt")
    assert code == 0, err
    assert out == f"one.pt: rule lstm, halting stick-breaking, trained on {TINY['horizon']} steps\n"
    trained, exported = Run.open(Path("two")).chains[1].load(), TrainedOptimizer.load(Path("one.pt"))
    assert exported.posterior is not None
    assert trained.posterior is not None
    for ours, theirs in ((exported.rule, trained.rule), (exported.posterior, trained.posterior)):
        for name, weight in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], weight)
    assert (exported.nu, exported.horizon) == (0.9, TINY["horizon"])
    refused(run("export", "two", "--out", "x.pt"), "two: expected --seed 0 or 1, got none")
    refused(run("export", "two", "--seed", "7", "--out", "x.pt"), "expected --seed 0 or 1, got 7")
    refused(run("export", "nowhere", "--out", "x.pt"), "no run there")
    refused(run("export", "two", "--seed", "0", "--out", "one.pt/x.pt"), "Error: one.pt/x.pt: Not a directory")
    assert run("export", "two", "--seed", "0", "--out", "new/x.pt")[0] == 0
    assert Path("new", "x.pt").exists()
    refused(run("export", "two"), "--out")
    assert not Path("x.pt").exists()


def stop_of(path: str) -> StopRule:
    stop = TrainedOptimizer.load(Path(path)).stop
    assert stop is not None
    return stop


def test_a_stop_rule_travels_with_the_file(elsewhere: Path, run: Any, fitted: Any) -> None:
    """Given, tuned, or the best of all tuned: as ``evaluate`` finds them; without the option there is none."""
    fitted("a", "--prior-nu", "0.9")
    assert run("export", "a", "--out", "plain.pt")[0] == 0
    assert TrainedOptimizer.load(Path("plain.pt")).stop is None

    code, out, err = run("export", "a", "--out", "given.pt", "--stop", "hazard=0.03", "--card")
    assert code == 0, err
    assert out.startswith("given.pt: rule lstm, halting stick-breaking, trained on 6 steps, stop hazard >= 0.03\n")
    assert "stop hazard >= 0.03" in Path("given.md").read_text()
    worn = LearnedOptimizer.from_pretrained([nn.Parameter(torch.ones(2))], "given.pt").stop
    assert isinstance(worn, Hazard)
    assert worn.threshold == 0.03

    refused(run("export", "a", "--out", "x.pt", "--stop", "hazrd"), "hazard, stochastic, own or tuned, got 'hazrd'")
    code, out, err = run("evaluate", "a", "--baselines", "none", "--num-optimizees", "5", "--json")
    assert code == 0, err
    described = {row["kind"]: row["rule"] for row in json.loads(out)["stopping"]}
    for name in ("hazard", "patience", "stochastic"):
        assert run("export", "a", "--out", "tuned.pt", "--stop", name)[0] == 0
        assert stop_of("tuned.pt").describe() == described[name]
    summary = json.loads(Path("a/summary.json").read_text())
    assert run("export", "a", "--out", "own.pt", "--stop", "own")[0] == 0
    assert stop_of("own.pt").describe() == summary["stopping"]["rule"] == described[stop_of("own.pt").name]
    assert stop_of("own.pt").needs_posterior
    assert run("export", "a", "--out", "tuned.pt", "--stop", "tuned")[0] == 0
    assert stop_of("tuned.pt").describe() == described[stop_of("tuned.pt").name]


def test_without_a_posterior_a_stop_rule_needs_none(elsewhere: Path, run: Any) -> None:
    """Others are refused in one line, as what is no rule and no threshold."""
    assert run("fit", *ARGUMENTS, "--halting", "none", "--out", "a")[0] == 0
    for stop, *words in (
        ("hazard", "expected budget, gradient, patience, own or tuned, got 'hazard'", "there is no halting posterior"),
        ("cumulative=0.5", "expected budget, gradient, patience, own or tuned", "there is no halting posterior"),
        ("tuned=3", "tuned has neither threshold nor option: expected it alone, got 'tuned=3'"),
        ("own=3", "own has neither threshold nor option: expected it alone, got 'own=3'"),
        ("tuned,epsilon=1", "expected it alone, got 'tuned,epsilon=1'"),
        ("hazrd=3", "expected budget, gradient, patience, own or tuned, got 'hazrd'"),
        ("budget=0", "expected a whole number >= 1", "0"),
        ("budget=soon", "expected a whole number >= 1", "'soon'"),
        ("budget=nan", "expected a whole number >= 1", "nan"),
    ):
        refused(run("export", "a", "--out", "x.pt", "--stop", stop), *words)
        assert not Path("x.pt").exists()
    code, _, err = run("export", "a", "--out", "x.pt", "--stop", "tuned")
    assert code == 0, err
    assert not stop_of("x.pt").needs_posterior
    assert LearnedOptimizer.from_pretrained([nn.Parameter(torch.ones(2))], "x.pt").stop is not None
