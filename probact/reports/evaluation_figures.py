"""Figures of an evaluation, from its dataset and its JSON alone; nothing here needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from probact.judging.results import Evaluation
from probact.reports.style import (
    BUDGET,
    OWN,
    headed,
    ink,
    log_scale,
    panels,
    save_figure,
    series,
    styled,
    whole,
)
from probact.support.words import counted

SHADES = (0.95, 0.75, 0.6, 0.45, 0.35)
"""Of the ink, for baselines."""
NUM_BASELINES = 5
"""Baselines that a figure draws: those with the smallest loss at the last step."""
MARKERS = "os^Dv"
"""Of the optimizers where a colour says how they stop."""
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (1, 3)))


def learning_curves(data: xr.Dataset) -> Figure:
    """Mean held-out loss above the optimum (where known) against steps, bands of two standard errors over problems."""
    known = "optimum" in data
    floor = float(data.optimum.mean()) if known else 0.0
    labels, is_reference = data.optimizer.values, data.kind.values != "trained"
    trained = list(dict.fromkeys(labels[~is_reference].tolist()))
    final = data.curve_mean.isel(step=-1).values
    baselines = [i for i in np.argsort(np.where(np.isfinite(final), final, np.inf)) if is_reference[i]][:NUM_BASELINES]
    steps = data.step.values
    figure, ((axes,),) = panels(1, 1, 4.4, right=3.0, top=0.75)
    for index, label in enumerate(trained):
        for chain in np.flatnonzero(labels == label):
            mean = data.curve_mean.values[chain] - floor
            band = 2 * data.curve_sem.values[chain]
            count = int((labels == label).sum())
            name = f"{label} ({count} seeds)" if count > 1 else label
            first = chain == np.flatnonzero(labels == label)[0]
            axes.plot(steps, mean, color=series(index), lw=1.8, label=name if first else None)
            axes.fill_between(steps, np.maximum(mean - band, 1e-12), mean + band, color=series(index), alpha=0.2, lw=0)
    for shade, dash, entry in zip(SHADES, DASHES, baselines, strict=False):
        rate = float(data.learning_rate.values[entry, -1])
        name = f"{labels[entry]}, lr {rate:g}" if np.isfinite(rate) else str(labels[entry])
        mean = data.curve_mean.values[entry] - floor
        axes.plot(steps, mean, color=ink(), alpha=shade, ls=dash, lw=1.2, label=name)
    drawn = [float(np.nanmin(np.asarray(line.get_ydata(), dtype=float)[1:])) for line in axes.get_lines()]
    top = float(np.nanmedian(data.curve_mean.values[:, 0])) - floor
    axes.set_ylim(max(min(drawn) * 0.8, 1e-5 * top), 3 * top)  # the limit goes to 0
    log_scale(axes, "y")
    above = "above the optimum " if known else ""
    axes.set(xlabel="number of steps", ylabel=f"mean loss {above}(nats)", xlim=(0, steps[-1]))
    whole(axes.xaxis)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    best = {kind: _best(data, kind) for kind in ("trained", "baseline")}
    found = [f"{name} reaches {loss:.4g}" for name, loss in best.values() if name]
    finding = f"After {steps[-1]} steps {', '.join(found) or 'all have diverged'}"
    below = (
        f"{counted(data.sizes['optimizee'], 'held-out problem', form=',')} of {data.attrs['family']}; mean loss in nats"
    )
    return headed(figure, finding, f"{below}, bands of two standard errors")


def _best(data: xr.Dataset, kind: str) -> tuple[str, float]:
    """The optimizer of that kind with the smallest loss at the last step, mean over seeds; no name where none is."""
    final = {
        str(label): float(data.curve_mean.values[data.optimizer.values == label, -1].mean())
        for label in np.unique(data.optimizer.values[data.kind.values == kind])
    }
    finite = {label: loss for label, loss in final.items() if np.isfinite(loss)}
    return min(finite.items(), key=lambda found: found[1], default=("", np.inf))


def steps_against_loss(result: Evaluation) -> Figure:
    """Mean steps against mean loss, a point a price of a step: the learned stop against fixed budgets."""
    figure, ((axes,),) = panels(1, 1, 4.4, left=0.9, top=0.75)
    names = list(dict.fromkeys(curve.optimizer for curve in result.frontier))
    seen: set[str] = set()
    for curve in result.frontier:
        place, learned = names.index(curve.optimizer), curve.kind != "budget"
        color = OWN if learned else BUDGET
        label = f"{curve.optimizer}: {'learned stop' if learned else 'fixed budget'}"
        shown = None if label in seen else label
        axes.plot(*zip(*sorted(curve.points), strict=True), color=color, ls="-" if learned else "--",
                  marker=MARKERS[place % len(MARKERS)], ms=5, label=shown)  # fmt: skip
        if shown and (learned or not any(other.kind != "budget" for other in result.frontier)):
            for price, point in zip(curve.prices, curve.points, strict=False):
                axes.annotate(f"{price:.2g}", point, xytext=(-3, -12), textcoords="offset points", fontsize="small",
                              color=color, ha="right")  # fmt: skip
        seen.add(label)
    log_scale(axes, "x")
    axes.margins(0.08)
    axes.set(xlabel="mean number of steps", ylabel="mean loss at the stop (nats)")
    axes.legend(loc="upper right")
    problems = counted(result.num_optimizees, "held-out problem", form=",")
    below = f"{problems} of {result.family}; a point for each price of a step"
    return headed(figure, _worth(result), f"{below}, which is beside it in nats" if axes.texts else below)


def _worth(result: Evaluation) -> str:
    """What the learned stop of the first optimizer costs beside the best budget, at the price asked for."""
    first = result.frontier[0].optimizer
    J = {
        kind: [row.J for row in result.stopping if row.optimizer == first and row.kind == kind]
        for kind in ("hazard", "budget", "oracle")
    }
    said = {"hazard": "learned stop", "budget": "best budget", "oracle": "hindsight"}
    found = [f"{said[kind]} {np.mean(values):.4g}" for kind, values in J.items() if values]
    return f"{first}: {', '.join(found)} nats, steps at {result.cost:.3g} included"


def calibration(result: Evaluation) -> Figure:
    """P(halt <= t) under the learned posterior against how often more steps than t would not have paid."""
    figure, ((axes,),) = panels(1, 1, 5.0, width=6.5, top=0.75)
    axes.plot([0, 1], [0, 1], color=ink(), ls=":", lw=1)
    names = list(dict.fromkeys(row.optimizer for row in result.calibration))
    seen: set[str] = set()
    for row in result.calibration:
        pairs = [(p, o) for p, o in zip(row.predicted, row.observed, strict=True) if not np.isnan(p)]
        shown = None if row.optimizer in seen else f"{row.optimizer}: off by {row.error:.2f}"
        axes.plot(*zip(*pairs, strict=True), marker="o", ms=4, color=series(names.index(row.optimizer)), label=shown)
        seen.add(row.optimizer)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability of having halted by step t")
    axes.set_ylabel("share of problems where more steps do not pay")
    axes.legend(loc="lower right")
    first = result.calibration[0]
    off = np.nansum((np.array(first.predicted) - first.observed) * first.entries) / sum(first.entries)
    side = "is neither early nor late" if abs(off) < 0.02 else f"is {'early' if off > 0 else 'late'}"
    finding = f"As a forecast of the best step, q of {first.optimizer} {side}"
    return headed(figure, finding, f"{counted(result.num_optimizees, 'held-out problem', form=',')} of {result.family}")


def draw_all(data: xr.Dataset, result: Evaluation, folder: Path) -> list[Path]:
    """Write every figure that there is data for; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    with styled():
        figures = {"learning_curves": learning_curves(data)}
        if result.frontier:
            figures["steps_against_loss"] = steps_against_loss(result)
        if result.calibration:
            figures["calibration"] = calibration(result)
        return [save_figure(figure, folder / f"{name}.png") for name, figure in figures.items()]
