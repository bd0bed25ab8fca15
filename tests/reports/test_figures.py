"""What the figures show, from files made up by hand: the same under ArviZ 0.23 and 1.x, and without torch."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from probact.reports import arviz_seam, halting_figures, posterior_file
from probact.reports.halting_figures import FIGURES, draw_all, drawable, pit_density
from probact.reports.style import STYLES, save_figure, styled
from probact.reports.training_figures import learning_curve
from tests.helpers.trees import HORIZON, NUM, PRICE, made_up_records, made_up_tree

ROOT = Path(__file__).parents[2]
OLD = ROOT / "tests" / "data" / "0.1.0" / "run" / "posterior.nc"
READ_AND_DRAW = """
import sys
from probact.reports import compared_figures, evaluation_figures, halting_figures, halting_statistics, posterior_file
from probact.reports import verdict
from probact.runs import metrics
print(sorted({*sys.modules} & {"torch", "pyro"}))
"""


@pytest.fixture(autouse=True)
def _light() -> Iterator[None]:
    with styled():
        yield


def title(figure: Figure) -> str:
    found: Any = figure
    return str(found.get_suptitle()).replace("\n", " ")


def line(axes: Any, label: str) -> Any:
    (found,) = [one for one in axes.lines if one.get_label() == label]
    return found


def test_reading_and_drawing_need_no_torch() -> None:
    command = [sys.executable, "-W", "ignore", "-c", READ_AND_DRAW]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("num_chains", [1, 3])
def test_rows_of_the_heat_map_go_from_easy_to_hard(num_chains: int) -> None:
    tree = made_up_tree(num_chains, off=1)
    figure = halting_figures.halting_heat_map(tree)
    learned, exact, _ = figure.axes
    assert [axes.get_title("left") for axes in (learned, exact)] == ["learned q(t|x)", "exact p(t|x)"]
    data = posterior_file.tables(tree).isel(chain=0)
    for axes in (learned, exact):
        best = line(axes, "best step in hindsight").get_xdata()
        assert best.tolist() == sorted(data.stop_oracle.values)
        assert axes.images[0].get_array().shape[0] == NUM
    assert (line(learned, "own stop").get_xdata() - line(learned, "best step in hindsight").get_xdata()).tolist() == [
        2
    ] * NUM
    modes = 1 + exact.images[0].get_array().argmax(-1)
    assert spearmanr(modes, range(NUM)).statistic > 0.9
    assert learned.get_yticklabels()[0].get_text() == str(data.stop_oracle.values.min())
    means = [(data[name] * data.step).sum("step") for name in ("halt_pmf", "tempered_pmf")]
    assert f"rank correlation {spearmanr(*means).statistic:.2f}" in title(figure)
    assert f"{float(data.tempered_gap.mean()):.2g} nats" in title(figure)


def test_many_problems_are_averaged_in_the_heat_map() -> None:
    figure = halting_figures.halting_heat_map(made_up_tree(num=1000))
    assert figure.axes[0].images[0].get_array().shape[0] == halting_figures.ROWS
    assert figure.axes[0].images[0].get_extent()[2] == 1000


def test_problems_one_by_one_show_stop_mode_and_best_step() -> None:
    figure = halting_figures.halting_by_problem(made_up_tree())
    columns = np.reshape(figure.axes, (2, -1)).T
    assert len(columns) == len(halting_figures.SHOWN)
    shown = []
    for above, below in columns:
        cost = line(above, "loss + price of the steps, above its smallest")
        best = int(cost.get_xdata()[cost.get_ydata().argmin()])
        for axes in (above, below):
            assert line(axes, "best step in hindsight").get_xdata() == [best, best]
            assert line(axes, "own stop").get_xdata() == [best + 2, best + 2]
        exact, mode = line(below, "exact p(t|x)"), line(below, "its mode")
        assert mode.get_xdata() == exact.get_xdata()[exact.get_ydata().argmax()] == best
        assert {"learned q(t|x)", "prior p(t)"} <= {patch.get_label() for patch in below.collections}
        shown.append(best)
    assert shown == sorted(shown)
    assert shown[0] < shown[-1]
    stops = ", ".join(str(best + 2) for best in shown)
    assert title(figure).endswith(f"at step {', '.join(map(str, shown))}; the own stop comes at {stops}")
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 8


@pytest.mark.parametrize("num_chains", [1, 3])
def test_stops_are_set_against_the_best_steps_and_coloured_by_regret(num_chains: int) -> None:
    tree = made_up_tree(num_chains)
    figure = halting_figures.stop_and_regret(tree)
    stops, regrets = figure.axes[:2]
    (points,) = stops.collections
    best, own = np.asarray(points.get_offsets()).T
    assert (own - best == 2).all()
    assert set(best) == set(np.unique(tree["constant_data/stop_oracle"]))
    data = posterior_file.tables(tree)
    J = {
        name: data.loss_path.sel(step=data[f"stop_{name}"]) + PRICE * data[f"stop_{name}"]
        for name in posterior_file.STOPS
    }
    for name, label in (("own", "own stop"), ("budget", "best budget"), ("patience", "best patience")):
        regret = (J[name] - J["oracle"]).values.ravel()
        curve = line(regrets, f"{label}: {regret.mean():.2g} on average")
        within, share = curve.get_xdata(), curve.get_ydata()
        assert share[-1] == 1
        middle = np.searchsorted(share, 0.5)
        assert within[middle] == pytest.approx(np.sort(regret)[(regret.size - 1) // 2], rel=0.1)
    assert points.get_array().max() <= (J["own"] - J["oracle"]).max()
    assert title(figure).startswith("The stop follows the problem (rank correlation 1.00); regret")


def test_gaps_add_up_in_groups_of_problems_alike() -> None:
    tree = made_up_tree(off=2)
    gaps, _ = halting_figures.gaps_and_calibration(tree).axes
    data = posterior_file.tables(tree).isel(chain=0)
    heights = np.array([bar.get_height() for bar in gaps.patches]).reshape(2, -1)
    assert (heights.mean(1) * NUM).sum() == pytest.approx(float((data.amortisation_gap + data.horizon_gap).sum()))
    points = line(gaps, "both, each problem").get_ydata()
    assert sorted(points) == pytest.approx(sorted((data.amortisation_gap + data.horizon_gap).values))
    labels = [label.get_text() for label in gaps.get_xticklabels()]
    assert len(labels) == halting_figures.GROUPS
    starts = [int(label.split("-")[0]) for label in labels]
    assert starts == sorted(starts)


@pytest.mark.parametrize(("off", "side"), [(0, "neither early nor late"), (3, "late"), (-3, "early")])
def test_calibration_is_flat_where_q_is_exact(off: int, side: str) -> None:
    tree = made_up_tree(off=off)
    figure = halting_figures.gaps_and_calibration(tree)
    assert title(figure).endswith(f"on average q halts {side}")
    data = posterior_file.tables(tree)
    density = pit_density(data.halt_pmf.values, data.tempered_pmf.values)
    np.testing.assert_allclose(density.mean(-1), 1)
    assert (np.abs(density - 1).max() < 1e-9) == (off == 0)


def test_calibration_agrees_with_random_draws() -> None:
    """Pr(U <= u) of U uniform in [Q(t - 1), Q(t)], t ~ p: by hand for one problem, two steps."""
    q, exact = np.array([[[0.25, 0.75]]]), np.array([[[0.5, 0.5]]])
    edges = np.linspace(0, 1, halting_figures.BINS + 1)
    below = np.where(edges < 0.25, 0.5 * edges / 0.25, 0.5 + 0.5 * (edges - 0.25) / 0.75)
    np.testing.assert_allclose(pit_density(q, exact)[0], halting_figures.BINS * np.diff(below))


def test_the_learning_curve_marks_what_was_kept_and_what_is_left() -> None:
    tree = made_up_tree(off=1)
    figure = learning_curve({"seed 0": made_up_records(best=25)}, tree)
    axes, halting = figure.axes
    assert (line(axes, "kept").get_xdata(), line(axes, "kept").get_ydata()) == ([25], [12])
    data = posterior_file.tables(tree)
    gap = float((data.log_evidence - data.elbo).mean())
    assert line(axes, f"-log p(x): {gap:.2g} below").get_ydata()[0] == pytest.approx(12 - gap)
    above = float((-data.elbo - data.optimum).mean())
    assert line(axes, f"optimum: {above:.2g} below").get_ydata()[0] == pytest.approx(12 - above)
    assert title(figure) == f"The weights of meta-step 25 are kept; their bound is {gap:.2g} nats from the evidence"
    assert axes.get_ylim()[1] < 17  # not up to the first meta-step
    assert halting.get_ylabel() == "mean halting step E[t] (steps)"


def test_the_learning_curve_of_another_objective_has_no_evidence() -> None:
    tree = made_up_tree(learned=False)
    records = [{**record, "mean_halting": None} for record in made_up_records()]
    figure = learning_curve({"seed 0": records, "seed 1": made_up_records(best=35)[:0]}, tree)
    (axes,) = figure.axes
    assert not any("below" in str(one.get_label()) for one in axes.lines)
    assert title(figure) == "The weights of meta-step 20 are kept"


@pytest.mark.parametrize("num_chains", [1, 3])
def test_forest_plots_go_from_easy_to_hard_by_their_medians(num_chains: int) -> None:
    """In both versions of ArviZ: a line a problem with two intervals, chains together, the median in the middle."""
    tree = made_up_tree(num_chains)
    figure = arviz_seam.forest(tree)
    data = arviz_seam.chosen(tree)
    labels = [text.get_text() for axes in figure.axes for text in (*axes.get_yticklabels(), *axes.texts)]
    for name in data.optimizee.values:
        assert sum(name in label for label in labels) == 1, (name, labels)
    difficulty = [float(name.split(",")[0].removeprefix("best step ")) for name in data.optimizee.values]
    assert difficulty == sorted(difficulty)
    lines, collections = figure.axes[-1].lines, figure.axes[-1].collections
    intervals = [one for one in collections if isinstance(one, LineCollection)] or lines
    assert len(intervals) == 2 * arviz_seam.SHOWN
    medians = data.t.median(("chain", "draw")).values
    points = [one.get_offsets()[0] for one in collections if isinstance(one, PathCollection)]
    points = points or [(one.get_xdata()[0], one.get_ydata()[0]) for one in lines if len(one.get_xdata()) == 1]
    from_above = sorted(points, key=lambda point: -float(point[1]))
    assert [float(x) for x, _ in from_above] == pytest.approx(medians.tolist())
    assert title(figure).endswith(f"from {medians[0]:g} to {medians[-1]:g}")
    assert figure.axes[-1].get_xlabel() == "halting step t (steps)"


def test_the_scale_of_training_is_named() -> None:
    tree = made_up_tree(kappa=4.0)
    figures = [FIGURES[name](tree) for name in drawable(tree) if name != "arviz_forest"]
    words = [
        "".join(text.get_text() for text in figure.findobj(match=lambda a: hasattr(a, "get_text")))
        for figure in figures
    ]
    assert sum("exact p(t|x) at KL scale 4" in shown for shown in words) == 3


def test_what_there_is_to_show() -> None:
    whole = made_up_tree()
    assert drawable(whole) == list(FIGURES)
    assert drawable(made_up_tree(learned=False)) == [name for name in FIGURES if name != "gaps_and_calibration"]
    assert len(halting_figures.halting_heat_map(made_up_tree(learned=False)).axes) == 2  # the exact one, and its bar
    lost = made_up_tree()
    lost["constant_data"].loss_path.values[:] = np.inf
    assert drawable(lost) == []


@pytest.mark.parametrize(("num", "horizon"), [(1, 5), (2, 2)])
def test_few_problems_and_few_steps(num: int, horizon: int, tmp_path: Path) -> None:
    tree = made_up_tree(num=num, horizon=horizon)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = draw_all(tree, {"seed 0": made_up_records(1)}, tmp_path)
    assert [path.stem for path in paths] == [*FIGURES, "learning_curve"]


def test_a_file_of_before_there_were_stops_is_drawn() -> None:
    tree = posterior_file.load(OLD)
    assert drawable(tree) == [name for name in FIGURES if name != "stop_and_regret"]
    data = posterior_file.tables(tree)
    assert data.stop_oracle.dims == ("chain", "optimizee")
    assert data.difficulty.values.tolist() == data.stop_oracle.values[0].tolist()
    figure = halting_figures.halting_by_problem(tree)
    assert "own stop" not in title(figure)
    assert line(figure.axes[0], "best step in hindsight")


def test_steps_are_whole_numbers() -> None:
    tree = made_up_tree(horizon=4)
    for name in drawable(tree):
        if name == "arviz_forest":
            continue
        for axes in FIGURES[name](tree).axes:
            if "step" in axes.get_xlabel():
                ticks = [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
                assert ticks, name
                assert all(tick == round(tick) for tick in ticks), (name, ticks)


@pytest.mark.parametrize("style", STYLES)
def test_light_and_dark(style: str, tmp_path: Path) -> None:
    """The same picture on another paper: text and paper differ in brightness everywhere."""
    tree = made_up_tree()
    with styled(style):
        for draw in (halting_figures.halting_by_problem, halting_figures.stop_and_regret):
            figure = draw(tree)
            paper = np.mean(to_rgb(figure.get_facecolor()))
            assert (paper > 0.5) == (style == "light")
            for axes in figure.axes:
                assert abs(np.mean(to_rgb(axes.xaxis.label.get_color())) - paper) > 0.5


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_all_are_written_in_the_format_asked_for(kind: str, tmp_path: Path) -> None:
    tree = made_up_tree()
    written = draw_all(tree, {"seed 0": made_up_records()}, tmp_path, kind=kind)
    assert [path.name for path in written] == [f"{name}.{kind}" for name in (*FIGURES, "learning_curve")]
    assert {path.read_bytes()[:5] for path in written} == {b"\x89PNG\r" if kind == "png" else b"<?xml"}
    again = save_figure(halting_figures.halting_heat_map(tree), tmp_path / f"again.{kind}")
    assert again.read_bytes() == written[0].read_bytes()


def test_arviz_takes_the_file_for_one_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "posterior.nc"
    posterior_file.save(made_up_tree(2), path)
    tree = posterior_file.load(path)
    table = arviz_seam.az.summary(tree["posterior"].to_dataset(), var_names=["t"], kind="stats")
    assert len(table) == NUM
    means = tree["posterior"].t.mean(("chain", "draw")).values
    assert table["mean"].astype(float).to_numpy() == pytest.approx(means, abs=0.06)
    for group in tree.children.values():
        for name, variable in group.variables.items():
            if name in posterior_file.MEANINGS:
                assert (variable.attrs["long_name"], variable.attrs["units"]) == posterior_file.MEANINGS[str(name)]
    assert tree["constant_data"].loss_path.shape == (2, NUM, HORIZON)


def test_the_forest_of_nu_has_a_line_a_kind() -> None:
    random = np.random.default_rng(0)
    nu = random.beta([30, 90, 300], [10, 10, 10], (2, 60, 3))
    data = xr.Dataset({"nu": (("chain", "draw", "kind"), nu)}, {"kind": ["few", "some", "many"]})
    figure = arviz_seam.forest_of_nu(xr.DataTree.from_dict({"posterior": data}))
    labels = [text.get_text() for axes in figure.axes for text in (*axes.get_yticklabels(), *axes.texts)]
    medians = np.median(1 / (1 - nu), (0, 1))
    for kind, median in zip(data.kind.values, medians, strict=True):
        assert sum(kind in label for label in labels) == 1, (kind, labels)
        assert f"{kind} {median:.3g}" in title(figure)
    assert figure.axes[-1].get_xlabel() == "1/(1 - nu) (steps)"
