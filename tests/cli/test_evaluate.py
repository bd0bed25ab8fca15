"""``evaluate``: tables, files, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from probact.cli.evaluate import _chosen
from probact.judging.comparison import references
from probact.problems.base import FAMILIES
from probact.rules.base import RULES
from tests.helpers.commands import ARGUMENTS, refused
from tests.helpers.trainings import TINY

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.drawn
def test_evaluate(elsewhere: Path, run: Any) -> None:
    """Two runs against two baselines: tables, files, and the same numbers the second time."""
    assert run("fit", *ARGUMENTS, "--out", "a", "--chains", "2")[0] == 0
    assert run("fit", *ARGUMENTS, "--out", "b", "--rule", "sgd", "--rule-option", "lr=0.01")[0] == 0
    arguments = ("evaluate", "a", "b", "--baselines", "adam,cg", "--at", "1,4", "--num-optimizees", "20")
    code, out, err = run(*arguments, "--out", "verdict")
    assert code == 0, err
    for words in ("held-out loss", "(2 seeds)", "cg (limit)", "best baseline", "problems won", "hazard >=", "oracle",
                  "every optimizer, its best stop", "against best step <= t", "written to verdict"):  # fmt: skip
        assert words in out, out
    for line in ("losses: lstm, stick-breaking, seed 1 (2 of 5)", "losses: cg (limit) (5 of 5)",
                 "ways to stop: lstm, stick-breaking, seed 0 (1 of 3)", "ways to stop: adam (1 of 1)"):  # fmt: skip
        assert line in err.splitlines(), err
    assert max(map(len, out.splitlines())) <= 100
    folder = elsewhere / "verdict"
    figures = {path.name for path in (folder / "figures").iterdir()}
    assert figures == {"learning_curves.png", "steps_against_loss.png", "calibration.png"}
    result = json.loads((folder / "evaluation.json").read_text())
    assert result["num_optimizees"] == 20
    assert [entry["folder"] for entry in result["runs"]] == ["a", "b"]
    with xr.open_dataset(folder / "evaluation.nc", engine="h5netcdf") as data:
        assert data.loss.dims == ("entry", "at", "optimizee")
        assert data["at"].values.tolist() == [1, 4]
    code, again, _ = run(*arguments, "--out", "verdict", "--json")
    assert code == 0
    assert json.loads(again) == result
    code, other, _ = run(*arguments, "--seed", "1", "--json")
    assert json.loads(other)["losses"] != result["losses"]
    assert (elsewhere / "a" / f"evaluation-{TINY['family']}" / "evaluation.json").exists()


def test_evaluate_on_another_family(elsewhere: Path, run: Any) -> None:
    assert run("fit", *ARGUMENTS, "--halting", "truncated")[0] == 0
    shifted = ("--family", "quadratic", "--family-option", "dim=3", "--at", "2,9", "--num-optimizees", "5")
    code, out, err = run("evaluate", "--baselines", "none", *shifted)
    assert code == 2  # neither a run nor a baseline
    latest = Path((elsewhere / "runs" / "latest").read_text().strip())
    code, out, err = run("evaluate", str(latest), "--baselines", "none", *shifted)
    assert code == 0, err
    assert "family quadratic, dim 3, test problems of seed" in out
    assert "hazard" not in out  # 'truncated' cannot be followed online
    assert (latest / "evaluation-quadratic-dim=3").is_dir()
    code, out, err = run(
        "evaluate", "--family", "quadratic", "--baselines", "sgd", "--num-optimizees", "5", "--cost", "1"
    )
    assert code == 0, err
    assert "price of 1 nats" in out


def test_a_formula_is_judged_beside_the_baselines(elsewhere: Path, run: Any, fitted: Any) -> None:
    """A rule written as its formula is tuned and stopped as the built-in ones are."""
    fitted("a")
    formulas = ("--rule-string", "g * exp(sign(g) * sign(m))", "--rule-string", "m - -g", "--rule-string", "g + m")
    words = ("evaluate", "a", "--baselines", "sgd", "--at", "3", "--num-optimizees", "6", *formulas, "--json")
    code, out, err = run(*words)
    assert code == 0, err
    found = {row["optimizer"]: row for row in json.loads(out)["losses"]}
    assert [*found][1:] == ["sgd", "exp(sign(g) * sign(m)) * g", "g + m"], "equal rules once, in canonical form"
    assert set(found) == {row["optimizer"] for row in json.loads(out)["stopping"]}
    grid = RULES["expression"].learning_rates  # type: ignore[attr-defined]
    assert all(found[name]["kind"] == "baseline" and found[name]["learning_rate"]["3"] in grid for name in [*found][2:])


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--rule-string", "g * foo"), "unknown word 'foo'"), (("--rule-string", ""), "an empty text"),
     (("--family", "gp-1d", "--rule-string", "g"), "shows a gradient, got gp-1d")],
)  # fmt: skip
def test_what_is_no_formula_is_refused(words: tuple[str, ...], said: str, elsewhere: Path, run: Any) -> None:
    refused(run("evaluate", "--family", "quadratic", "--baselines", "none", *words), said)


@pytest.mark.parametrize(
    ("names", "there", "not_there"),
    [
        ("usual", {"sgd", "adamw", "lbfgs", "cg"}, {"muon", "adamw-cosine", "prodigy"}),
        ("usual,muon,sgd", {"sgd", "muon", "cg"}, {"prodigy"}),
        ("all", {"sgd", "muon", "adamw-cosine", "schedule-free", "cg"}, set()),
        ("none", set(), {"sgd", "cg"}),
    ],
)
def test_which_baselines(names: str, there: set[str], not_there: set[str]) -> None:
    known = references(FAMILIES["quadratic"])
    chosen = _chosen(names, known)
    found = {name for name, entry in known.items() if entry in chosen}
    assert there <= found
    assert not found & not_there
    assert len(chosen) == len(found)


def test_bad_evaluations(elsewhere: Path, run: Any, fitted: Any) -> None:
    refused(run("evaluate"), "no run yet")
    refused(run("evaluate", "nowhere"), "no run there")
    refused(run("evaluate", "--family", "quadratic", "--baselines", "adam,sdg"), "'sdg'", "choose from", "adam", "cg")
    refused(run("evaluate", "--family", "digits", "--baselines", "cg"), "'cg'", "adam")
    refused(run("evaluate", "--family", "quadratic", "--baselines", "none"), "nothing to evaluate")
    refused(run("evaluate", "--family", "quadratic", "--at", "1,x"), "steps >= 1", "1,x")
    refused(run("evaluate", "--family", "quadratic", "--at", "0"), "steps >= 1")
    refused(run("evaluate", "--family", "quadratic", "--cost", "0"), "--cost")
    refused(run("evaluate", "--family", "quadratic", "--family-option", "width=3"), "no option 'width'", "dim")
    refused(run("evaluate", "--family", "quadratic", "--num-optimizees", "1"), "--num-optimizees")
    (elsewhere / "file").touch()
    refused(run("evaluate", "--family", "quadratic", "--out", "file/verdict"), "file/verdict", "Not a directory")
    fitted("a")
    fitted("b", "--family", "regression")
    refused(run("evaluate", "a", "b"), "different families", "regression")
