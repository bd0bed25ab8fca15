"""One head asked at several prices, from the command line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from probact.runs.trained import TrainedOptimizer
from tests.helpers.commands import refused

pytestmark = pytest.mark.usefixtures("undrawn")

FIT = (
    "fit --family quadratic --rule adam --rule-option lr=0.1 --halting stick-breaking --halting-first --horizon 6 "
    "--batch 4 --meta-steps 2 --validation-problems 4 --test-problems 6 --prior-nu 0.8"
)


@pytest.fixture
def trained(run: Any, elsewhere: Path) -> Path:
    code, _, _ = run(*FIT.split(), "--looks", "--recall", "--prior-nu-range", "0.5", "0.9", "--out", "wide")
    assert code == 0
    return elsewhere / "wide"


def test_one_head_answers_at_every_price_of_its_range(run: Any, trained: Path) -> None:
    for nu in (0.5, 0.7):
        at = ("--prior-nu", str(nu))
        code, out, _ = run("halt-stats", str(trained), "--num-optimizees", "5", *at, "--json")
        assert code == 0
        assert json.loads(out)["stopping"]["price"] == pytest.approx(-math.log(nu))
        code, out, _ = run("evaluate", str(trained), "--num-optimizees", "5", "--baselines", "none", *at, "--json")
        assert code == 0
        assert json.loads(out)["cost"] == pytest.approx(-math.log(nu))
        assert run("export", str(trained), "--out", "at.pt", "--stop", "hazard", *at)[0] == 0
        one = TrainedOptimizer.load(Path("at.pt"))
        assert one.nu == nu
        assert one.looks is not None
        assert one.looks.price == pytest.approx(-math.log(nu))
        assert one.looks.recall


def test_a_price_outside_the_range_is_refused(run: Any, trained: Path) -> None:
    for command in (("halt-stats",), ("evaluate", "--baselines", "none"), ("export", "--out", "x.pt")):
        refused(run(*command, str(trained), "--prior-nu", "0.95"), "prior-nu-range, 0.5 to 0.9, got 0.95")


def test_a_run_or_file_of_one_price_is_asked_at_that(run: Any, elsewhere: Path) -> None:
    assert run(*FIT.split(), "--out", "one")[0] == 0
    refused(run("halt-stats", "one", "--prior-nu", "0.7"), "expected prior-nu 0.8 alone", "got 0.7")
    assert run("export", "one", "--out", "one.pt")[0] == 0
    evaluate = ("evaluate", "one.pt", "--family", "quadratic", "--baselines", "none", "--prior-nu", "0.7")
    refused(run(*evaluate), "expected prior-nu 0.8, that of the file, got 0.7")


def test_a_card_is_of_the_price_that_the_run_reports(run: Any, trained: Path) -> None:
    refused(run("export", str(trained), "--out", "x.pt", "--card", "--prior-nu", "0.7"), "--card", "no --prior-nu")
