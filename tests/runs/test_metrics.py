from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from probact.runs import metrics
from probact.runs.run import Record

RECORD = Record(1, 2.5, 3.0, 0.5, 0.02, 1.0, 0, 0, 0.1)
NEEDED = ("step", "loss", "grad_norm")


def strict(text: str) -> Any:
    """As readers of other languages have it."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("unknown", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_null_and_read_as_nan(unknown: float, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics.append(path, RECORD._replace(loss=unknown, grad_norm=unknown, mean_halting=None)._asdict())
    line = strict(path.read_text())
    assert (line["loss"], line["grad_norm"], line["mean_halting"]) == (None, None, None)
    (found,) = metrics.read(path, NEEDED)
    assert math.isnan(found["loss"])
    assert math.isnan(found["grad_norm"])
    assert found["mean_halting"] is None


def test_an_older_line_is_read_and_made_json_when_the_file_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": NaN, "grad_norm": NaN}\n{"step": 2, "loss": 1.0, "grad_norm": 0.5}\n')
    assert math.isnan(metrics.read(path, NEEDED)[0]["loss"])
    metrics.cut(path, 1, NEEDED)
    assert strict(path.read_text())["loss"] is None
    assert len(metrics.read(path, NEEDED)) == 1
