"""``evaluate --curves``: tables, files, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from probact.monitoring.head import CurveHead
from tests.helpers.commands import refused
from tests.helpers.curves import curves_of, drawn_curves

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def folder(elsewhere: Path) -> Path:
    """Files of curves, and a head."""
    (elsewhere / "curves").mkdir()
    for seed, name in enumerate(("wine", "a-data-set-of-a-long-name")):
        drawn_curves(name, num=5, looks=12, seed=seed).save(elsewhere / "curves" / f"{name}.npz")
    drawn_curves("other", num=5, looks=12, seed=2).save(elsewhere / "other.npz")
    CurveHead(nu=0.9, hidden_size=4).save(elsewhere / "head.pt", {"sets": "moons, other"})
    return elsewhere


@pytest.mark.drawn
def test_evaluate_curves(folder: Path, run: Any) -> None:
    prices = ("--price", "1e-3", "--price", "1e-2", "--relative-price", ".01")
    arguments = ("evaluate", "--curves", "curves", *prices, "--monitor", "head.pt", "--out", "verdict")
    code, out, err = run(*arguments)
    assert code == 0, err
    for words in ("leave one data set out: judged on each of", "regret as a share", "patience 10, as people use it",
                  "learned head, no setting less patience, tuned:", "of first", "by set of curves", "a-da…name",
                  "another 10 looks will pay", "Mahsereci", "written to verdict: curves.json, 3 figures"):  # fmt: skip
        assert words in out, out
    assert max(map(len, out.splitlines())) <= 100
    assert "ways to stop: t-test, tuned" in err.splitlines()
    figures = {path.name for path in (folder / "verdict" / "figures").iterdir()}
    assert figures == {"regret_by_price.png", "regret_by_data_set.png", "forecasts.png"}
    written = json.loads((folder / "verdict" / "curves.json").read_text())
    assert written["format"] == 1
    assert written["judged"] == {"a-data-set-of-a-long-name": 5, "wine": 5}
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    assert json.loads(out) == written


def test_evaluate_curves_tuned_on_others(folder: Path, run: Any) -> None:
    code, out, err = run("evaluate", "--curves", "curves/wine.npz", "--price", ".1", "--tune-on", "other.npz",
                         "--monitor", "none")  # fmt: skip
    assert code == 0, err
    assert "tuned on other; judged on wine" in out
    assert "learned head" not in out
    assert (folder / "runs" / "evaluation-curves" / "curves.json").exists()


def test_what_is_refused(folder: Path, run: Any) -> None:
    none = ("--monitor", "none")
    on_curves = ("evaluate", "--curves", "curves", "--price", "1e-3")
    refused(run("evaluate", "--curves", "curves"), "--price", "--relative-price")
    for price in ("0", "-1", "nan", "inf", "x", ""):
        refused(run("evaluate", "--curves", "curves", "--price", price), "prices > 0", repr(price))
    refused(run("evaluate", "--price", "1e-3"), "--price goes with --curves")
    refused(run("evaluate", "--tune-on", "curves", "--family", "quadratic"), "--tune-on goes with --curves")
    refused(run(*on_curves, "--family", "quadratic"), "--family is not for --curves")
    refused(run(*on_curves, "a run"), "a run is not for --curves")
    refused(run(*on_curves, *none, "--tune-on", "curves"), "judged or tuned on", "wine")
    refused(run(*on_curves, "--monitor", "nowhere"), "nowhere")
    refused(run(*on_curves, "--monitor", "other.npz"), "other.npz")
    refused(run(*on_curves, *none, "--curves", "other.npz", "--curves", "other.npz"), "'other' judged twice")
    refused(
        run(*on_curves, "--curves", "other.npz", "--monitor", "head.pt"),
        "data sets that no training saw, got other: head 'head.pt' was trained on them",
    )
    refused(run(*on_curves, "--out", "other.npz/verdict"), "other.npz/verdict/curves.json: Not a directory")
    refused(run("evaluate", "--curves", "nowhere.npz", "--price", "1", *none), "nowhere.npz")
    refused(run("evaluate", "--curves", "head.pt", "--price", "1", *none), "head.pt")
    refused(run("evaluate", "--curves", "other.npz", "--price", "1", *none), "two data sets", "--tune-on")
    (folder / "empty").mkdir()
    refused(run("evaluate", "--curves", "empty", "--price", "1", *none), "empty", "NAME.npz")
    curves_of("zeros", [[0, 0]] * 3).save(folder / "zeros.npz")
    refused(run(*on_curves, *none, "--curves", "zeros.npz"), "zeros: expected curves")
