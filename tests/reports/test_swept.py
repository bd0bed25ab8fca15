"""What a grid of runs reached, from files made up by hand; without torch."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest
import xarray as xr

from probact.reports.style import styled
from probact.reports.swept import Swept, finding, swept
from probact.reports.swept_figures import what_varies_does
from probact.reports.swept_text import swept_table
from tests.helpers.trees import made_up_tree

NUS = (0.5, 0.8, 0.9)


def of_nu(nu: float, shift: float, num_chains: int = 2) -> xr.DataTree:
    tree = made_up_tree(num_chains)
    data = tree["constant_data"].to_dataset()
    tree["constant_data"] = xr.DataTree(data.assign(log_evidence=data.log_evidence + shift))
    tree.attrs = {**tree.attrs, "prior_nu": nu}
    return tree


def grid(shifts: tuple[float, ...], num_chains: int = 2) -> Swept:
    trees = [of_nu(nu, shift, num_chains) for nu, shift in zip(NUS, shifts, strict=True)]
    return swept([{"prior_nu": nu} for nu in NUS], trees, [1.0, 2.0, 3.0])


def test_errors_are_over_the_seeds() -> None:
    found = grid((0.0, 1.0, 0.0))
    data = made_up_tree(2)["constant_data"].to_dataset()
    of_seeds = data.stop_own.values.mean(1)
    for run in found.runs:
        assert run.steps == pytest.approx(of_seeds.mean())
        assert run.steps_sem == pytest.approx(abs(of_seeds[0] - of_seeds[1]) / 2)
        assert pytest.approx(run.loss + run.price * run.steps) == run.J
    assert [run.seconds for run in found.runs] == [1.0, 2.0, 3.0]
    assert Swept.from_json(found.to_json()) == found
    alone = grid((0.0, 1.0, 0.0), 1)
    assert all(math.isnan(run.steps_sem) for run in alone.runs)


def test_the_losses_speak_for_the_largest_evidence() -> None:
    middle = grid((0.0, 5.0, 0.0))
    assert middle.richest is middle.runs[1]
    assert finding(middle).startswith("The losses speak for prior-nu 0.8: log evidence")
    assert "5 above prior-nu 0.5" in finding(middle)
    assert "end of the grid" not in finding(middle)
    assert "nu 0.9 is at the end of the grid" in finding(grid((0.0, 0.0, 5.0)))
    assert "within two standard errors" in finding(grid((0.0, 1e-3, 0.0)))
    assert "no standard error" in finding(grid((0.0, 1.0, 0.0), 1))


def test_families_are_not_compared_by_evidence() -> None:
    trees = [of_nu(0.9, 0.0), of_nu(0.9, 3.0)]
    found = swept([{"family": "a"}, {"family": "b"}], trees)
    assert found.richest is None
    assert "different problems" in finding(found)
    assert "family a" in swept_table(found)


def test_problems_that_diverged_are_left_out_and_counted() -> None:
    tree = of_nu(0.9, 0.0)
    data = tree["constant_data"].to_dataset()
    data.loss_path[0, 3] = math.inf
    tree["constant_data"] = xr.DataTree(data)
    found = swept([{"prior_nu": 0.9}], [tree])
    assert found.runs[0].num_diverged == 1
    assert math.isfinite(found.runs[0].loss)
    assert "1 problem diverged" in swept_table(found)
    assert "there is no other to compare" in finding(found)


def test_the_table_keeps_to_its_width() -> None:
    lines = swept_table(grid((0.0, 1.0, 0.0))).splitlines()
    assert max(map(len, lines)) <= 100
    assert [line.split()[1] for line in lines if line.startswith("prior-nu 0")] == ["0.5", "0.8", "0.9"]


def test_cells_with_small_errors_stand_apart() -> None:
    found = grid((0.0, 0.0, 0.0))
    small: dict[str, Any] = {"steps": 1.41702, "steps_sem": 1e-4, "loss": 0.86891, "loss_sem": 4.2e-4}
    run = replace(found.runs[0], **small, log_evidence=-0.74408, log_evidence_sem=9.2e-4)
    long = replace(run, values={"family": "of a long name, " * 5})
    head, *lines = swept_table(replace(found, runs=(run, long))).splitlines()[1:4]
    cells = ["0.105", "1.41702 ±0.00010", "0.86891 ±0.00042", "-0.74408 ±0.00092"]
    for line in lines:
        assert re.split(r"  +", line)[1:5] == cells
        assert len(line) == len(head) <= 100


def test_the_figure_has_a_line_for_every_combination_of_the_others() -> None:
    points = [{"prior_nu": nu, "halting": name} for nu in NUS for name in ("a", "b")]
    found = swept(points, [of_nu(point["prior_nu"], index) for index, point in enumerate(points)])  # type: ignore[arg-type]
    with styled():
        figure: Any = what_varies_does(found)
    for axes, what in zip(figure.axes, ("steps", "loss", "log_evidence"), strict=True):
        for container, first in zip(axes.containers, (0, 1), strict=True):
            drawn = [float(value) for value in container[0].get_ydata()]
            assert drawn == pytest.approx([found.runs[i][what] for i in range(first, 6, 2)])
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0.5", "0.8", "0.9"]
