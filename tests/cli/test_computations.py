"""Networks that decide how long to compute, from the command line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from probact import Hazard, TrainedOptimizer, run_until_stopped
from probact.reports import posterior_file
from probact.reports.card import summary_of
from probact.runs.run import Run
from tests.helpers.commands import refused

SMALL = ("--meta-steps", "4", "--batch", "8", "--validation-problems", "8", "--test-problems", "40", "--horizon", "6")
FEW = ("--family", "parity", "--family-option", "n=5")


def test_a_network_from_training_to_its_file(run: Any, elsewhere: Path) -> None:
    code, out, err = run("fit", *FEW, *SMALL, "--out", "run")
    assert code == 0, err
    assert "gru-reader, trained" in out
    for line in (
        ("halt-stats", "run", "--num-optimizees", "40"),
        ("export", "run", "--stop", "hazard=0.1", "--out", "one.pt"),
    ):
        code, out, err = run(*line)
        assert code == 0, out + err
    table = posterior_file.tables(posterior_file.load(Run.open(Path("run")).posterior))
    assert set(table["size"].values.tolist()) == {1, 2, 3, 4, 5}
    assert table["size"].attrs["long_name"] == "how much there is to do, as the family counts it"
    observed = posterior_file.load(Path("run/posterior.nc"))["observed_data"].to_dataset()
    assert set(observed.x.values.flatten().tolist()) == {0, 1}
    one = TrainedOptimizer.load(Path("one.pt"))
    problems = Run.open(Path("run")).experiment.build_family().sample(9, torch.Generator().manual_seed(0))
    assert one.stop is not None
    stopped = run_until_stopped(one.rule, problems, 6, one.stop, one.posterior)
    again = run_until_stopped(one.rule, problems, 6, Hazard(0.1), one.posterior, compact=False)
    torch.testing.assert_close(stopped.step, again.step)
    torch.testing.assert_close(stopped.nll, again.nll)


@pytest.mark.usefixtures("undrawn")
def test_evaluate_says_how_many_steps_for_all_are_as_accurate(run: Any, elsewhere: Path) -> None:
    code, _, err = run("fit", *FEW, *SMALL, "--out", "run")
    assert code == 0, err
    code, out, err = run("evaluate", "run", "--family", "parity", "--family-option", "n=7", "--out", "judged")
    assert code == 0, err
    rows = json.loads(Path("judged/evaluation.json").read_text())["predictions"]
    at_stop = next(row for row in rows if row["way"] == "at the stop")
    fixed = next(row for row in rows if row["way"].endswith("steps for all, as accurate"))
    assert fixed["accuracy"] >= at_stop["accuracy"]
    assert 1 <= int(fixed["way"].split()[1]) <= 6
    assert fixed["way"] in out
    assert "adam" not in out


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (("--family", "parity", "--family-option", "nonzero=9:4"), "family 'parity': nonzero: expected LOW:HIGH"),
        (("--family", "parity", "--family-option", "n=1"), "family 'parity': expected n >= 2"),
        (("--family", "addition", "--rule", "gru-loop", "--rule-option", "inputs=3"), "'gru-loop': inputs: expected"),
        (("--family", "parity", "--rule", "adam"), "rule 'adam': expected problems that show its loss and gradient"),
        (("--family", "digits", "--rule", "gru-reader"), "rule 'gru-reader': expected problems that show its input"),
    ],
)
def test_what_does_not_fit_is_refused(line: tuple[str, ...], expected: str, run: Any, elsewhere: Path) -> None:
    refused(run("fit", *line, *SMALL, "--out", "run"), expected)


@pytest.mark.slow
def test_parity_is_solved_by_what_the_family_recommends(run: Any, elsewhere: Path) -> None:
    """Labels are known at the own stop, steps before the best budget for all."""
    code, _, err = run("fit", "--family", "parity", "--seed", "20", "--out", "run")
    assert code == 0, err
    found = summary_of(Run.open(Path("run")))
    assert found.loss_at["20"] < 0.01
    # A wrong label costs log 2 nats at least, so that this is less than one wrong in a hundred at the stop.
    assert found.loss_at_halting < 0.01 * math.log(2)
    assert found.stopping.steps < min(12, found.stopping.steps_budget - 2)
    assert found.stopping.rank_correlation > 0.5
