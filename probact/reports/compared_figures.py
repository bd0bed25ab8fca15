"""The figure of ``compare``, from posterior files alone; nothing here needs torch."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from probact.reports.compared_text import finding
from probact.reports.posterior_file import tables
from probact.reports.runs_compared import RunsCompared, finite_in_all
from probact.reports.style import headed, ink, log_scale, panels, series, whole


def losses_and_costs(trees: Mapping[str, xr.DataTree], found: RunsCompared) -> Figure:
    """Mean loss against steps, with the own stop of each run; and what its stop costs more than the best run's."""
    figure, (axes,) = panels(1, 2, 4.4, left=0.8, right=0.3, top=1.1, between=0.45)
    _draw_losses(axes[0], trees, found)
    _draw_differences(axes[1], found)
    price = f"a step costs {found.price:.3g} nats"
    below = f"{found.num_optimizees:,} held-out problems of {found.family}, the same for all runs; {price}"
    return headed(figure, finding(found), below)


def _draw_losses(axes: Any, trees: Mapping[str, xr.DataTree], found: RunsCompared) -> None:
    kept = finite_in_all(trees)
    lowest = np.inf
    for index, run in enumerate(found.runs):
        data = tables(trees[run.run]).isel(optimizee=kept)
        path = data.loss_path.mean(("chain", "optimizee"))
        axes.plot(path.step, path, color=series(index), lw=1.8, label=run.run)
        axes.plot([run.steps], [run.loss], color=series(index), marker="o", ms=8, mec=ink(), ls="none")
        lowest = min(lowest, float(path.min()), run.loss)
    if lowest > 0:
        log_scale(axes, "y")
    axes.set(xlabel="number of steps made", ylabel="mean loss (nats)", xlim=(0, None))
    whole(axes.xaxis)
    axes.set_title("loss; the dot is the own stop, mean over problems")
    axes.legend()


def _draw_differences(axes: Any, found: RunsCompared) -> None:
    rows = np.arange(len(found.runs))[::-1]
    for index, (row, run) in enumerate(zip(rows, found.runs, strict=True)):
        error = 0.0 if np.isnan(run.difference_sem) else 2 * run.difference_sem
        axes.errorbar(run.difference, row, xerr=error, color=series(index), marker="o", capsize=3, lw=1.8)
    axes.axvline(0, color=ink(), lw=1, ls=":")
    axes.set_yticks(rows, [textwrap.fill(_short(run.run), 14) for run in found.runs])
    axes.set(xlabel="loss + price above the best run's (nats)", ylim=(-0.6, len(rows) - 0.4))
    axes.set_title("problem by problem, two standard errors")


def _short(name: str) -> str:
    """A run's name, or its end where it is long."""
    return name if len(name) <= 28 else f"...{name[-25:]}"
