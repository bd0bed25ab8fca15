"""A grid of runs as its folder has it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from probact.runs.experiment import Experiment
from probact.runs.sweep import Sweep, label, seeds_of, values_of
from tests.helpers.trainings import tiny

GRID = {"prior_nu": (0.5, 0.9), "halting": ("stick-breaking", "none")}


def experiments() -> list[Experiment]:
    return [tiny(**point) for point in Sweep(Path(), GRID, (0,)).points]


def test_a_point_of_every_combination_in_a_folder_of_its_own(tmp_path: Path) -> None:
    sweep = Sweep.create(tmp_path / "s", GRID, experiments(), (3, 4))
    assert [label(point) for point in sweep.points] == [
        "prior-nu=0.5,halting=stick-breaking", "prior-nu=0.5,halting=none",
        "prior-nu=0.9,halting=stick-breaking", "prior-nu=0.9,halting=none",
    ]  # fmt: skip
    again = Sweep.open(tmp_path / "s")
    assert [(run.experiment.prior_nu, run.experiment.halting, run.seeds) for run in again.runs] == [
        (nu, halting, (3, 4)) for nu in GRID["prior_nu"] for halting in GRID["halting"]
    ]
    assert [chain.experiment.seed for chain in again.chains] == [3] * 4 + [4] * 4
    assert len({chain.folder for chain in again.chains}) == 8
    with pytest.raises(ValueError, match="already holds a sweep: continue it with --resume"):
        Sweep.create(tmp_path / "s", GRID, experiments(), (3, 4))
    with pytest.raises(ValueError, match="already holds a run: choose another --out"):
        Sweep.create(again.runs[0].folder, GRID, experiments(), (3, 4))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', '{"format": "probact sweep 1", "varied": 3}'])
def test_what_is_no_sweep_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ValueError, match="no sweep there"):
        Sweep.open(tmp_path)
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(ValueError, match=r"sweep\.json: expected a probact sweep 1, got something else"):
        Sweep.open(tmp_path)


def test_a_value_that_no_run_takes_is_refused(tmp_path: Path) -> None:
    Sweep.create(tmp_path / "s", GRID, experiments(), (0,))
    path = tmp_path / "s" / "sweep.json"
    content = json.loads(path.read_text())
    content["varied"]["prior_nu"] = [2.0]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="prior_nu: expected a number > 0 and < 1, got 2"):
        Sweep.open(tmp_path / "s")


def test_what_texts_mean() -> None:
    assert values_of("prior_nu", ".8,.9, .95") == (0.8, 0.9, 0.95)
    assert values_of("rule", "lstm,subspace") == ("lstm", "subspace")
    assert seeds_of("0..4") == (0, 1, 2, 3, 4)
    assert seeds_of("7, 3") == (7, 3)
    for name, text in (("prior_nu", "0.8,0.8"), ("prior_nu", "0.8,"), ("rule", "no-rule"), ("seed", "1"), ("x", "1")):
        with pytest.raises(ValueError, match="expected"):
            values_of(name, text)
    for text in ("", "4..3", "a", "1,1", "-1", "1.5"):
        with pytest.raises(ValueError, match="expected"):
            seeds_of(text)
