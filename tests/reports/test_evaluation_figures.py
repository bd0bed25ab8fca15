"""What the figures of an evaluation show, from results made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from probact.judging.results import Calibration, CalibrationRow, Curve, Evaluation, StopRow
from probact.reports.evaluation_figures import calibration, learning_curves, steps_against_loss
from tests.helpers.evaluations import STOP, evaluation


@pytest.fixture
def result() -> Evaluation:
    """Two seeds, whose learned stop costs 1.25 on average and the best budget 1.5."""
    prices, points = (0.05, 0.1, 0.2), ((8.0, 1.0), (4.0, 1.1), (2.0, 1.4))
    rows = tuple(
        StopRow(optimizer="mine", trained=True, seed=seed, **{**STOP, "kind": kind, "J": J})
        for seed, kind, J in ((0, "hazard", 1.2), (1, "hazard", 1.3), (0, "budget", 1.5), (1, "budget", 1.5))
    )
    curves = tuple(
        Curve(optimizer="mine", seed=seed, kind=kind, points=points, prices=prices)
        for seed in (0, 1)
        for kind in ("budget", "hazard")
    )
    return evaluation(stopping=rows, frontier=curves)


def test_steps_against_loss_names_its_prices(result: Evaluation) -> None:
    figure: Any = steps_against_loss(result)
    (axes,) = figure.axes
    assert len(axes.lines) == 4
    assert axes.lines[0].get_xdata() == pytest.approx([2.0, 4.0, 8.0])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["mine: fixed budget", "mine: learned stop"]
    named = {text.get_text(): text.xy for text in axes.texts}
    assert named == {"0.05": (8.0, 1.0), "0.1": (4.0, 1.1), "0.2": (2.0, 1.4)}
    assert figure.get_suptitle() == "mine: learned stop 1.25, best budget 1.5 nats, steps at 0.1 included"
    older = replace(result, frontier=tuple(replace(curve, prices=()) for curve in result.frontier))
    assert len(steps_against_loss(older).axes[0].texts) == 0


@pytest.mark.parametrize(("observed", "side"), [(0.2, "early"), (0.5, "neither early nor late"), (0.8, "late")])
def test_calibration_says_on_which_side_q_is(observed: float, side: str) -> None:
    """Halted with probability 1/2 where it would be right to have halted more often: q is late."""
    bins = Calibration(predicted=(0.5, np.nan), observed=(observed, np.nan), entries=(24, 0), error=abs(observed - 0.5))
    figure: Any = calibration(evaluation(calibration=(CalibrationRow(optimizer="mine", seed=0, **vars(bins)),)))
    assert figure.get_suptitle() == f"As a forecast of the best step, q of mine is {side}"
    assert figure.axes[0].lines[1].get_xydata().tolist() == [[0.5, observed]]


def test_losses_are_of_means_over_seeds() -> None:
    kinds = ["trained", "trained", "baseline", "baseline"]
    coords = {"optimizer": ("entry", ["mine", "mine", "adam", "sgd"]), "kind": ("entry", kinds), "step": [0, 1, 2]}
    mean = np.array([[9.0, 4, 1], [9, 4, 3], [9, 5, 2.5], [9, 7, np.nan]])
    data = xr.Dataset(
        {
            "curve_mean": (("entry", "step"), mean),
            "curve_sem": (("entry", "step"), 0.1 * mean),
            "learning_rate": (("entry", "at"), [[np.nan], [np.nan], [0.1], [0.5]]),
            "loss": (("entry", "at", "optimizee"), np.ones((4, 1, 5))),
        },
        coords,
        {"family": "made up"},
    )
    figure: Any = learning_curves(data)
    assert figure.get_suptitle() == "After 2 steps mine reaches 2, adam reaches 2.5"
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["mine (2 seeds)", "adam, lr 0.1", "sgd, lr 0.5"]
    assert all(tick == round(tick) for tick in figure.axes[0].get_xticks())
