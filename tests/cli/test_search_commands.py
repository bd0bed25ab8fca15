"""Searches on the command line: from training to a file, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from probact.runs.experiment import Experiment
from tests.helpers.commands import call, refused

pytestmark = pytest.mark.usefixtures("undrawn")

Run = Callable[[str], tuple[int, str, str]]
SMALL = "--horizon 6 --meta-steps 3 --batch 8 --validation-problems 8 --test-problems 16"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return lambda line: call(capsys, monkeypatch, *line.split())


@pytest.mark.slow
def test_a_search_from_training_to_its_file(run: Run, elsewhere: Path) -> None:
    """Judged beside searches that have nothing to train, by a stop rule that only searches have."""
    code, out, err = run(f"fit --family gp-1d --price 0.03 {SMALL} --out run")
    assert code == 0, out + err
    settings = json.loads((elsewhere / "run" / "experiment.json").read_text())
    assert (settings["rule"], settings["price"], settings["horizon_prior"]) == ("lstm-search", 0.03, "flat")
    code, out, err = run("evaluate run --out judged")
    assert code == 0, out + err
    judged = json.loads((elsewhere / "judged" / "evaluation.json").read_text())
    assert {row["optimizer"] for row in judged["losses"]} == {"lstm-search, stick-breaking", "gp-ei", "random-search"}
    kinds = {(row["optimizer"], row["kind"]) for row in judged["stopping"]}
    assert ("lstm-search, stick-breaking", "expected-improvement") in kinds
    assert ("gp-ei", "expected-improvement") in kinds
    assert ("random-search", "expected-improvement") not in kinds
    assert not any(kind == "gradient" for _, kind in kinds)
    for line in ("halt-stats run", "export run --stop expected-improvement --out one.pt --card"):
        code, out, err = run(line)
        assert code == 0, out + err
    assert "A search for `probact.BlackBoxOptimizer`" in (elsewhere / "one.md").read_text()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--family mnist --price 0.1", "gp-1d, gp-2d, gp-3d, gp-6d"),
        ("--family gp-1d --price 1e-30", "price: expected one in 1.19e-07..8.39e+06"),
        ("--family style --price 1e9", "price: expected one in 1.19e-07..8.39e+06"),
        ("--family gp-1d --price 0", "'--price': expected a number > 0, got 0"),
        ("--family gp-1d --price -1", "'--price': expected a number > 0, got -1"),
        ("--family gp-1d --family-option length=0", "family 'gp-1d': expected length > 0"),
        ("--family gp-1d --family-option kernel=cubic", "family 'gp-1d': expected kernel rbf or matern52"),
        ("--family gp-2d --rule-option dim=1", "rule 'lstm-search': expected functions of dim 1 variables, got 2"),
        ("--family quadratic --rule lstm-search", "expected problems that show its loss alone"),
        ("--family gp-1d --rule gp-ei --halting none", "nothing to train: rule 'gp-ei' has no weights"),
        ("--family gp-1d --rule-option unit=metric", "rule 'lstm-search': expected unit online or known"),
    ],
)
def test_what_does_not_fit_is_refused(line: str, expected: str, run: Run, elsewhere: Path) -> None:
    refused(run(f"fit {line} {SMALL} --out run"), expected)


def test_a_price_is_kept_and_none_is_none() -> None:
    priced = Experiment.create(family="gp-1d", price=0.02)
    assert Experiment.from_json(priced.to_json()) == priced
    family = priced.build_family()
    assert (family.price, family.cost) == (0.02, priced.step_cost)  # type: ignore[attr-defined]
    assert Experiment.create(family="gp-1d").build_family().price == 0.01  # type: ignore[attr-defined]
    plain = Experiment.create(family="quadratic")
    assert plain.price == 0
    assert Experiment.from_json(plain.to_json()) == plain
    with pytest.raises(ValueError, match=r"price: expected a number > 0, got -0\.1"):
        Experiment.create(family="gp-1d", price=-0.1)
