from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from probact.reports import text
from probact.reports.card import summary_of
from probact.reports.run_report import Summary, report
from probact.runs.run import Run
from probact.training.loop import train
from tests.helpers.trainings import tiny


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Summary]:
    run = Run.create(tmp_path_factory.mktemp("runs") / "a", tiny(), [0, 1])
    for chain in run.chains:
        train(chain, lambda record: None, lambda: False)
    return run, report(run)


def test_a_summary_is_what_its_file_says(reported: tuple[Run, Summary]) -> None:
    run, summary = reported
    assert json.loads(run.summary.read_text())["format"] == 1
    again = summary_of(run)
    assert again.to_json() == summary.to_json()
    assert again.seeds == (0, 1)
    assert again.halting == summary.halting
    assert again["posterior"]["quantiles"]["0.5"] == summary.posterior.quantiles["0.5"]


def test_a_summary_without_a_format_is_read(reported: tuple[Run, Summary]) -> None:
    """As runs of before have it: the same keys, null for what was not defined."""
    run, summary = reported
    older: dict[str, Any] = json.loads(run.summary.read_text())
    del older["format"], older["sha256"]
    older["rank_correlation"] = older["optimum"] = None
    again = Summary.from_json(json.dumps(older))
    assert again.loss_at == summary.loss_at
    assert math.isnan(again.rank_correlation)
    assert "optimum" in text.loss_table(summary)
    assert "optimum" not in text.loss_table(again)


def test_something_else_is_refused(reported: tuple[Run, Summary], tmp_path: Path) -> None:
    run, _ = reported
    content = json.loads(run.summary.read_text())
    del content["loss_at"], content["sha256"]
    with pytest.raises(ValueError, match=r"expected Summary of format 1 as JSON \(.*'loss_at'"):
        Summary.from_json(json.dumps(content))
    with pytest.raises(ValueError, match="got format 2"):
        Summary.from_json(json.dumps({**content, "format": 2}))
    broken = replace(run, folder=tmp_path)
    broken.summary.write_text("{")
    with pytest.raises(ValueError, match=r"summary\.json: expected Summary of format 1"):
        summary_of(broken)
