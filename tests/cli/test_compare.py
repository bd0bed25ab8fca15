"""``compare`` on runs of a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import refused


@pytest.mark.usefixtures("undrawn")
def test_runs_side_by_side(elsewhere: Path, run: Any, fitted: Any) -> None:
    for name, nu in (("a", "0.8"), ("b", "0.9")):
        fitted(name, "--prior-nu", nu)
    fitted("other", "--family", "mixed")
    code, out, _ = run("compare", "a", "b", "--out", "c")
    assert code == 0
    assert "2 runs on the same 6 held-out problems of quadratic" in out
    assert {path.name for path in Path("c").iterdir()} == {"comparison.json", "comparison.png"}
    code, out, _ = run("compare", "b", "a", "--price", "0.2231435513142097", "--json")
    assert code == 0
    first, again = json.loads(Path("c/comparison.json").read_text()), json.loads(out)
    assert first["price"] == pytest.approx(again["price"])
    of_summary = {name: json.loads(Path(name, "summary.json").read_text()) for name in "ab"}
    for one, other in zip(first["runs"], again["runs"], strict=True):
        assert one["J"] == pytest.approx(other["J"])
        assert one["loss"] == pytest.approx(of_summary[one["run"]]["loss_at_halting"])
        assert one["log_evidence"] == pytest.approx(of_summary[one["run"]]["log_evidence"])
        assert one["seconds"] == of_summary[one["run"]]["seconds"]

    refused(run("compare", "a"), "expected two different runs or more, got a")
    refused(run("compare", "a", "./a"), "expected two different runs or more")
    refused(run("compare", "a", "other"), "family 'quadratic' in a and 'mixed' in other")
    refused(run("compare", "a", "nowhere"), "nowhere: no run there")
    for price in ("0", "nan", "inf", "-1"):
        refused(run("compare", "a", "b", "--price", price), "--price", "expected a number > 0")
    Path("b/posterior.nc").unlink()
    refused(run("compare", "a", "b"), "b/posterior.nc: no such file; make it with: ")
