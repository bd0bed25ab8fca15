from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest

from probact.judging.evaluation import best_stops
from probact.judging.results import Evaluation, StopRow
from probact.reports import text
from tests.helpers.evaluations import STOP, evaluation, full_evaluation


def test_an_evaluation_is_what_its_json_says() -> None:
    found = full_evaluation()
    content = json.loads(found.to_json())
    assert content["format"] == 1
    assert content["optimum"] is None
    assert content["losses"][1]["kind"] == "baseline"
    assert [row["seed"] for row in content["stopping"]] == [1, None]
    assert content["frontier"][0]["points"] == [[3.0, 1.25], [2.0, None]]
    again = Evaluation.from_json(found.to_json())
    assert again.to_json(indent=1) == found.to_json(indent=1)
    assert again.stopping == found.stopping
    assert again.runs == found.runs
    assert math.isnan(again.calibration[0].predicted[1])
    assert math.isnan(again.frontier[0].points[1][1])
    assert again["losses"][2]["kind"] == again.losses[2].kind == "limit"


def test_a_file_without_a_format_is_read() -> None:
    """There a seed of -1 was a baseline, or the limit by its label, and stops of baselines lacked some columns."""
    found = full_evaluation()
    older = json.loads(found.to_json())
    del older["format"], older["sha256"], older["safeguard"]
    for row in older["losses"]:
        row["seeds"] = row["seeds"] or [-1]
        del row["kind"], row["test_loss"]
    for row in older["stopping"]:
        row["seed"] = -1 if row["seed"] is None else row["seed"]
        del row["trained"]
    del older["stopping"][1]["share"]
    del older["stopping"][0]["learning_rate"]
    again = Evaluation.from_json(json.dumps(older))
    assert again.to_json() == found.to_json()
    assert text.stopping_table(again, best_stops(again)) == text.stopping_table(found, best_stops(found))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"format": 7}', "got format 7"),
        ("[1]", "expected Evaluation of format 1"),
        ("{", "expected Evaluation of format 1 as JSON"),
        ('{"format": 1, "family": "quadratic"}', "missing"),
    ],
)
def test_other_files_are_refused(content: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Evaluation.from_json(content)


def test_the_best_stop_is_the_mean_over_seeds() -> None:
    def row(seed: int, kind: str, J: float) -> StopRow:
        return StopRow(optimizer="mine", trained=True, seed=seed, **{**STOP, "kind": kind, "J": J, "steps": 2.0 * J})

    rows = (row(0, "budget", 1.0), row(1, "budget", 3.0), row(0, "hazard", 2.5), row(1, "hazard", 2.5),
            row(0, "oracle", 0.1), row(1, "oracle", 0.1), row(0, "patience", math.nan))  # fmt: skip
    (best,) = best_stops(evaluation(stopping=rows))
    assert (best.kind, best.J, best.J_sem, best.steps, best.num_seeds) == ("budget", 2.0, 1.0, 4.0, 2)
    assert math.isnan(best.share)


@pytest.mark.parametrize("module", ["judging.results", "reports.halting_statistics"])
def test_results_are_read_without_torch(module: str) -> None:
    code = f"import sys, probact.{module}; print({{'torch', 'pyro'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
