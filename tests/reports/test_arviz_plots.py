"""ArviZ's own plots of a posterior file: the same calls under 0.23 and 1.x, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from probact.reports import arviz_plots, arviz_seam, posterior_file
from probact.reports.arviz_plots import PLOTS, draw_plots, drawable, easy_to_hard
from probact.support.palette import styled
from tests.helpers.figures import axis_faults
from tests.helpers.trees import NUM, made_up_tree

PROBLEMS = len(np.unique(np.linspace(0, arviz_seam.SHOWN - 1, arviz_plots.NUM).round()))


def with_predictions(num_chains: int = 2, learned: bool = True) -> xr.DataTree:
    """x of 20 numbers a problem, and draws of it; those of the first problem are not finite."""
    tree, random = made_up_tree(num_chains, learned=learned), np.random.default_rng(1)
    drawn = random.normal(2, 1, (num_chains, 50, NUM, 20))
    drawn[:, :, 0] = np.nan
    names = ("chain", "draw", "optimizee", "observation")
    tree["posterior_predictive"] = xr.DataTree(xr.Dataset({"x": (names, drawn)}))
    seen = xr.Dataset({"x": (("optimizee", "observation"), random.normal(2, 1, (NUM, 20)))})
    tree["observed_data"] = xr.DataTree(seen)
    return tree


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("num_chains", [1, 3])
def test_each_is_drawn_of_the_file(name: str, num_chains: int, tmp_path: Path) -> None:
    posterior_file.save(with_predictions(num_chains), tmp_path / "posterior.nc")
    tree = posterior_file.load(tmp_path / "posterior.nc")
    if name not in drawable(tree):
        assert (name, num_chains) == ("arviz_rank", 1)
        return
    with styled():
        figure: Any = PLOTS[name](tree)
    assert [*axis_faults(figure)] == []
    panels = {"arviz_trace": 2 * PROBLEMS, "arviz_predictive": 1}.get(name, PROBLEMS)
    assert len([axes for axes in figure.axes if axes.axison]) == panels
    top = max(axes.get_position().y1 for axes in figure.axes)
    assert top < 1 - 0.5 / figure.get_size_inches()[1]  # below our title
    if name != "arviz_predictive":
        words = [text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]
        for problem in easy_to_hard(tree).optimizee.values:
            assert any(problem in word for word in words), problem


def test_titles_say_what_was_measured() -> None:
    tree = with_predictions(3)
    data = easy_to_hard(tree)
    means = ", ".join(f"{mean:.3g}" for mean in data.t.mean(("chain", "draw")).values)
    titles: list[Any] = [PLOTS[name](tree) for name in ("arviz_posterior", "arviz_rank", "arviz_predictive")]
    said = [figure.get_suptitle() for figure in titles]
    assert said[0] == f"From easy to hard, q(t|x) halts after {means} steps on average"
    worst = max(arviz_seam.convergence(data.t.isel(optimizee=place).values)[0] for place in range(PROBLEMS))
    assert f"R-hat of t is {worst:.2f} at most" in said[1]
    assert said[2].endswith(f"{NUM - 1} problems together")  # one has no finite draws


def test_without_a_halting_posterior_no_title_names_q() -> None:
    tree = with_predictions(3, learned=False)
    figures: list[Any] = [PLOTS[name](tree) for name in drawable(tree)]
    said = {name: figure.get_suptitle() for name, figure in zip(drawable(tree), figures, strict=True)}
    assert not [title for title in said.values() if "q(" in title]
    assert "the exact p(t|x) halts after" in said["arviz_posterior"]
    assert "where the exact p(t|x) halts" in said["arviz_predictive"]


def test_only_what_there_are_draws_for(tmp_path: Path) -> None:
    assert drawable(made_up_tree()) == ["arviz_trace", "arviz_posterior"]
    assert drawable(with_predictions()) == [*PLOTS]
    paths = draw_plots(made_up_tree(), tmp_path / "figures", style="dark", kind="svg")
    assert [path.name for path in paths] == ["arviz_trace.svg", "arviz_posterior.svg"]
    assert {path.read_bytes()[:5] for path in paths} == {b"<?xml"}
