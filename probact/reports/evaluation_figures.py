"""Figures of an evaluation, from its dataset and its JSON alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from probact.judging.results import Evaluation
from probact.reports.halting_figures import STYLE, save_figure

GREYS = ("0.35", "0.5", "0.65", "0.75", "0.85")
NUM_BASELINES = 5
"""Baselines that a figure draws: those with the smallest loss at the last step."""


def learning_curves(data: xr.Dataset) -> Figure:
    """Mean held-out loss above the optimum (where known) against steps, bands of two standard errors over problems."""
    figure = Figure(figsize=(8, 4.4))
    axes = figure.subplots()
    known = "optimum" in data
    floor = float(data.optimum.mean()) if known else 0.0
    labels, is_reference = data.optimizer.values, data.kind.values != "trained"
    trained = list(dict.fromkeys(labels[~is_reference].tolist()))
    final = data.curve_mean.isel(step=-1).values
    baselines = [i for i in np.argsort(np.where(np.isfinite(final), final, np.inf)) if is_reference[i]][:NUM_BASELINES]
    steps = data.step.values
    for index, label in enumerate(trained):
        for chain in np.flatnonzero(labels == label):
            mean = data.curve_mean.values[chain] - floor
            band = 2 * data.curve_sem.values[chain]
            count = int((labels == label).sum())
            name = f"{label} ({count} seeds)" if count > 1 else label
            first = chain == np.flatnonzero(labels == label)[0]
            axes.plot(steps, mean, color=f"C{index}", lw=1.8, label=name if first else None)
            axes.fill_between(steps, np.maximum(mean - band, 1e-12), mean + band, color=f"C{index}", alpha=0.2, lw=0)
    dashes = ("-", "--", "-.", ":", (0, (1, 3)))
    for shade, dash, entry in zip(GREYS, dashes, baselines, strict=False):
        rate = float(data.learning_rate.values[entry, -1])
        name = f"{labels[entry]}, lr {rate:g}" if np.isfinite(rate) else str(labels[entry])
        axes.plot(steps, data.curve_mean.values[entry] - floor, color=shade, ls=dash, lw=1.4, label=name)
    drawn = [float(np.nanmin(np.asarray(line.get_ydata(), dtype=float)[1:])) for line in axes.get_lines()]
    top = float(np.nanmedian(data.curve_mean.values[:, 0])) - floor
    axes.set_yscale("log")
    axes.set_ylim(max(min(drawn) * 0.8, 1e-5 * top), 3 * top)  # the limit goes to 0
    above = "above the optimum " if known else ""
    axes.set(xlabel="step", ylabel=f"mean loss {above}(nats)", xlim=(0, steps[-1]))
    axes.set_title(f"{data.attrs['family']}: {data.sizes['optimizee']} held-out problems")
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def steps_against_loss(result: Evaluation) -> Figure:
    """Mean steps against mean loss as the price of a step varies: the learned stop against fixed budgets."""
    figure = Figure(figsize=(7, 4.2))
    axes = figure.subplots()
    names = list(dict.fromkeys(curve.optimizer for curve in result.frontier))
    seen = set()
    for curve in result.frontier:
        color = f"C{names.index(curve.optimizer)}"
        steps, loss = zip(*sorted(curve.points), strict=True)
        learned = curve.kind != "budget"
        label = f"{curve.optimizer}: {'learned stop' if learned else 'fixed budget'}"
        axes.plot(
            steps,
            loss,
            color=color,
            ls="-" if learned else "--",
            marker="o" if learned else "s",
            ms=4,
            label=None if label in seen else label,
        )
        seen.add(label)
    axes.set(xscale="log", xlabel="mean number of steps", ylabel="mean loss at the stop (nats)")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title(f"{result.family}: steps against loss, price of a step {result.cost:.3g} nats x 0.1 to 10")
    axes.legend(fontsize="small")
    return figure


def calibration(result: Evaluation) -> Figure:
    """P(halt <= t) under the learned posterior against how often more steps than t would not have paid."""
    figure = Figure(figsize=(4.8, 4.6))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.6", ls="--", lw=1)
    names = list(dict.fromkeys(row.optimizer for row in result.calibration))
    seen = set()
    for row in result.calibration:
        label = row.optimizer
        pairs = [(p, o) for p, o in zip(row.predicted, row.observed, strict=True) if not np.isnan(p)]
        axes.plot(*zip(*pairs, strict=True), marker="o", ms=4, color=f"C{names.index(label)}",
                  label=None if label in seen else label)  # fmt: skip
        seen.add(label)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability of having halted by step t")
    axes.set_ylabel("share of problems where more steps do not pay")
    axes.set_title(f"Calibration: {result.family}")
    axes.legend(fontsize="small", loc="lower right")
    return figure


def draw_all(data: xr.Dataset, result: Evaluation, folder: Path) -> list[Path]:
    """Write every figure that there is data for; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    with rc_context(STYLE):
        figures = {"learning_curves": learning_curves(data)}
        if result.frontier:
            figures["steps_against_loss"] = steps_against_loss(result)
        if result.calibration:
            figures["calibration"] = calibration(result)
        for name, figure in figures.items():
            save_figure(figure, folder / f"{name}.png")
    return [folder / f"{name}.png" for name in figures]
