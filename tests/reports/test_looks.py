"""Every figure of the project: units on all axes, colours that stand for something, and can be told apart by all."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from probact.inference.priors import Prior
from probact.judging.curves.results import CurvesEvaluation
from probact.judging.results import Calibration, CalibrationRow, Curve, Evaluation
from probact.monitoring.picture import draw as monitor_picture
from probact.reports import arviz_plots, curves_figures, evaluation_figures, figure_guide, halting_figures
from probact.reports.compared_figures import losses_and_costs
from probact.reports.how_long import HowLong
from probact.reports.nu_figure import evidence_curve
from probact.reports.prior_figure import prior_figure
from probact.reports.rule_search_report import draw_search
from probact.reports.runs_compared import compared
from probact.reports.swept import swept
from probact.reports.swept_figures import what_varies_does
from probact.reports.training_figures import learning_curve
from probact.rule_search.settings import Record, Settings
from probact.support.palette import ROLES, STYLES, styled
from tests.helpers.evaluations import evaluation
from tests.helpers.figures import axis_faults, color_faults
from tests.helpers.trees import made_up_records, made_up_tree

ROOT = Path(__file__).parents[2]


def learning_curves() -> Figure:
    coords = {"optimizer": ("entry", ["mine", "adam"]), "kind": ("entry", ["trained", "baseline"]), "step": [0, 1, 2]}
    mean = np.array([[9.0, 4, 1], [9, 5, 2.5]])
    tables = {
        "curve_mean": (("entry", "step"), mean),
        "curve_sem": (("entry", "step"), 0.1 * mean),
        "learning_rate": (("entry", "at"), [[np.nan], [0.1]]),
        "loss": (("entry", "at", "optimizee"), np.ones((2, 1, 5))),
    }
    return evaluation_figures.learning_curves(xr.Dataset(tables, coords, {"family": "made up"}))


def of_evaluation() -> Evaluation:
    bins = Calibration(predicted=(0.2, 0.5), observed=(0.25, 0.4), entries=(24, 12), error=0.25)
    curves = tuple(
        Curve(optimizer="mine", seed=0, kind=kind, points=((8.0, 1.0), (4.0, 1.2)), prices=(0.1, 0.2))
        for kind in ("budget", "hazard")
    )
    calibration = (CalibrationRow(optimizer="mine", seed=0, **vars(bins)),)
    return evaluation(frontier=curves, calibration=calibration)


def prior() -> Figure:
    of_nu = Prior(torch.tensor(0.9), 20)
    return prior_figure(0.9, of_nu.log_horizon().numpy(), of_nu.log_marginal().numpy(), "geometric p(T)")


def how_long() -> Figure:
    nu = tuple(np.linspace(0.5, 0.95, 9))
    given = {"num_optimizees": 5, "horizon": 20, "kl_scale": 1.0, "trained_nu": 0.8, "best": 0.9, "low": 0.85}
    evidence = tuple(-((value - 0.9) ** 2) for value in nu)
    return evidence_curve(HowLong(**given, nu=nu, evidence=evidence, high=0.92, end="", gain=0.1, said="So long"))


def search(folder: Path) -> Figure:
    """``draw_search`` writes it; what it drew."""
    drawn: list[Figure] = []
    settings = Settings(controller="random", rules=9)
    records = [Record("g", (0, number), 0.1 * number, 1.0, 0.5, 0.1, 0, 1.0, True) for number in range(1, 10)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("probact.reports.rule_search_report.save_figure", lambda figure, path: drawn.append(figure))
        draw_search(folder / "rewards.png", settings, records, None)
    return drawn[0]


def of_curves() -> CurvesEvaluation:
    return CurvesEvaluation.from_json((ROOT / "benchmarks" / "results" / "curves-verdict.json").read_text())


def monitored() -> Figure:
    losses, hazards = 1 / np.arange(1.0, 13).reshape(2, 6), np.full((2, 6), 0.2)
    return monitor_picture("two", losses, hazards, np.array([6, 4]), np.array([0, 5]))


def benchmark(module: str, function: str, *given: Any) -> Figure:
    """What a page's script draws."""
    drawn: list[Figure] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(ROOT / "benchmarks"))
        script: Any = __import__(module)
        for home in ("probact.reports.style", module):
            patched.setattr(f"{home}.save_figure", lambda figure, path: drawn.append(figure), raising=False)
        found = getattr(script, function)(*given)
    return found or drawn[0]


def ranks() -> Figure:
    counts = json.loads((ROOT / "benchmarks" / "results" / "calibration.json").read_text())
    return benchmark("calibration", "draw", counts)


TREES = {"alone": made_up_tree(), "three": made_up_tree(3)}
DRAWN: dict[str, Callable[[], Figure]] = {
    **{
        f"{name}, {label}": lambda name=name, tree=tree: halting_figures.FIGURES[name](tree)  # type: ignore[misc]
        for name in halting_figures.FIGURES
        for label, tree in TREES.items()
    },
    "learning_curve": lambda: learning_curve(
        {"seed 0": made_up_records(), "seed 1": made_up_records()}, TREES["alone"]
    ),
    "prior": prior,
    "evidence_curve": how_long,
    "learning_curves": learning_curves,
    "steps_against_loss": lambda: evaluation_figures.steps_against_loss(of_evaluation()),
    "calibration": lambda: evaluation_figures.calibration(of_evaluation()),
    "comparison": lambda: losses_and_costs(TREES, compared(TREES)),
    "sweep": lambda: what_varies_does(swept([{"prior_nu": 0.8}, {"prior_nu": 0.9}], [*TREES.values()], [1.0, 1.0])),
    "regret_by_price": lambda: curves_figures.regret_by_price(of_curves()),
    "regret_by_data_set": lambda: curves_figures.regret_by_data_set(of_curves()),
    "forecasts": lambda: curves_figures.forecasts_come_true(of_curves()),
    "monitor": monitored,
    "calibration_of_inference": ranks,
    "found_rules": lambda: benchmark("found_rules_tables", "figure"),
    "steps_by_nonzeros": lambda: benchmark("loops_tables", "draw"),
}


@pytest.fixture(params=STYLES)
def style(request: pytest.FixtureRequest) -> Iterator[str]:
    with styled(request.param):
        yield request.param


@pytest.mark.parametrize("name", DRAWN)
def test_axes_have_units_and_colours_stand_for_something(name: str) -> None:
    with styled():
        figure = DRAWN[name]()
        assert [*axis_faults(figure)] == []
        if not name.startswith("arviz"):  # its reference lines are its own
            assert [*color_faults(figure)] == []


def test_the_figure_of_a_search_too(tmp_path: Path) -> None:
    with styled():
        figure = search(tmp_path)
        assert [*axis_faults(figure), *color_faults(figure)] == []


def test_a_fault_is_seen() -> None:
    with styled():
        figure = Figure()
        axes = figure.subplots()
        axes.plot([1, 2, 3], color="#123456")
        axes.set(xlabel="steps", ylabel="loss (nats)")
        assert [*axis_faults(figure)] == ["x axis of '': 'steps'"]
        assert len([*color_faults(figure)]) == 1
        axes.set_xlabel("number of steps")
        axes.lines[0].set_color(ROLES["loss"])
        assert [*axis_faults(figure), *color_faults(figure)] == []


def test_how_to_read_each_is_written_down() -> None:
    names = {name.partition(",")[0] for name in DRAWN} | {*arviz_plots.PLOTS}
    assert names <= {*figure_guide.SHOWS}
    assert [*figure_guide.lines([Path("a/prior.png"), Path("a/notes.txt")])] == [
        f"prior.png: {figure_guide.SHOWS['prior']}"
    ]


def test_without_a_halting_posterior_nothing_is_said_of_q() -> None:
    drawn_without = {"halting_heat_map", "halting_by_problem", "stop_and_regret", "arviz_forest", "learning_curve"}
    paths = [Path(f"{name}.png") for name in drawn_without | {*arviz_plots.PLOTS}]
    assert {*figure_guide.WITHOUT_POSTERIOR} <= {*figure_guide.SHOWS}
    with_q, without = [*figure_guide.lines(paths)], [*figure_guide.lines(paths, learned=False)]
    assert len(with_q) == len(without) == len(paths)
    says_q = re.compile(r"\bq\b|E\[t\]")
    assert [line for line in with_q if says_q.search(line)]
    assert not [line for line in without if says_q.search(line)]


SEEN = {
    "all": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
"""How linear RGB looks (Machado, Oliveira and Fernandes 2009, severity 1)."""
XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]])


def linear(color: Any) -> np.ndarray[Any, Any]:
    value = np.array(to_rgb(color))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """CIELAB, D65."""
    f = np.cbrt(XYZ @ rgb / np.array([0.95047, 1, 1.08883]).clip(1e-9))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eye", SEEN)
def test_roles_can_be_told_apart(eye: str, style: str) -> None:
    seen = {
        name: lab(np.clip(np.array(SEEN[eye]) @ linear(color), 0.001, 1))
        for name, color in {**ROLES, "ink": STYLES[style]["text.color"]}.items()
    }
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 15, (one, other)
    if eye != "all":  # red and green of the same brightness are one colour there: the test can fail
        red, green = (lab(np.clip(np.array(SEEN[eye]) @ linear(color), 0.001, 1)) for color in ("#c06000", "#7f8000"))
        assert np.linalg.norm(red - green) < 35


def test_roles_stand_out_from_the_paper(style: str) -> None:
    brightness = {name: float((XYZ @ linear(color))[1]) for name, color in ROLES.items()}
    behind = float((XYZ @ linear(STYLES[style]["figure.facecolor"]))[1])
    for name, own in brightness.items():
        assert (max(own, behind) + 0.05) / (min(own, behind) + 0.05) >= 3, name
