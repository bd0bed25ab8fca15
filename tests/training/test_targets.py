"""What the defaults must reach; minutes of training each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.processes import CLI

pytestmark = pytest.mark.slow


def fit(folder: Path, *arguments: str) -> dict[str, Any]:
    subprocess.run([sys.executable, str(CLI), "fit", *arguments, "--out", "run"], cwd=folder, check=True)
    summary: dict[str, Any] = json.loads((folder / "run" / "summary.json").read_text())
    return summary


def test_the_main_command(tmp_path: Path) -> None:
    """What the README says that a first run shows."""
    summary = fit(tmp_path, "--prior-nu", "0.95")
    found = summary["stopping"]
    assert found["rank_correlation"] >= 0.8
    assert found["sd"] >= found["sd_oracle"] / 2
    assert summary["amortisation_gap"] <= 0.1
    assert found["J"] < found["J_budget"] - 2 * found["J_error"]
    assert found["J"] < found["J_patience"]
    assert found["verdict"].startswith("The stop follows the problem: ")


def test_regression(tmp_path: Path) -> None:
    summary = fit(tmp_path, "--family", "regression", "--prior-nu", "0.95")
    assert summary["loss_at"]["10"] <= 10.9
    assert summary["loss_at"]["100"] <= 9.7


def test_mixed(tmp_path: Path) -> None:
    summary = fit(tmp_path, "--family", "mixed")
    assert summary["amortisation_gap"] <= 0.2
    found = summary["stopping"]
    assert found["rank_correlation"] >= 0.7
    assert found["sd"] >= 2
    assert found["J"] < found["J_budget"] - 2 * found["J_error"]


@pytest.mark.parametrize("family", ["digits", "diabetes"])
def test_real_data_beats_the_untrained_rule(family: str, tmp_path: Path) -> None:
    summary = fit(tmp_path, "--family", family)
    for step in ("10", "20", "50"):
        assert summary["loss_at"][step] < 0.9 * summary["start_loss_at"][step]


@pytest.mark.parametrize("halting", ["stick-breaking", "graves"])
def test_halting_does_not_stick_at_two_or_three_steps(halting: str, tmp_path: Path) -> None:
    fit(tmp_path, "--family", "regression", "--halting", halting, "--meta-steps", "200")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["mean_halting"] for line in lines]
    # Graves' N has no gradient, so that halting swings and may pass three steps: what counts is that it comes back.
    assert sum(step <= 5 for step in steps) < len(steps) / 4
    assert steps[-1] > 5
