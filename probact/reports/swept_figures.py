"""The figure of ``sweep``, from its numbers alone; nothing here needs torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from probact.reports.style import PRIOR, headed, ink, panels, series
from probact.reports.swept import Swept, SweptRun, finding


def what_varies_does(found: Swept) -> Figure:
    """Steps, loss and evidence against the first setting that varies, a line for each combination of the others."""
    figure, (axes,) = panels(1, 3, 3.9, left=0.7, top=1.1, bottom=0.75, between=0.38)
    first, *others = found.varied
    name = first.replace("_", "-")
    ticks = list(dict.fromkeys(run.values[name] for run in found.runs))
    lines: dict[str, list[SweptRun]] = {}
    for run in found.runs:
        lines.setdefault(", ".join(run.values[other.replace("_", "-")] for other in others), []).append(run)
    for index, (label, runs) in enumerate(lines.items()):
        at = [ticks.index(run.values[name]) for run in runs]
        for one, what in zip(axes, ("steps", "loss", "log_evidence"), strict=True):
            _draw(one, at, [run[what] for run in runs], [run[f"{what}_sem"] for run in runs], series(index), label)
    if first == "prior_nu":
        runs = next(iter(lines.values()))
        means = [1 / (1 - run.prior_nu) for run in runs]
        axes[0].plot(range(len(means)), means, color=PRIOR, ls=":", label="prior mean 1/(1 - nu)")
    best = found.richest
    if best is not None:
        axes[2].axvline(ticks.index(best.values[name]), color=ink(), lw=1, ls=":")
    titles = ("own stop (steps)", "loss at the own stop (nats)", "log evidence (nats)")
    for one, title in zip(axes, titles, strict=True):
        one.set_xticks(range(len(ticks)), ticks)
        one.set(xlabel="nu (probability to continue)" if first == "prior_nu" else name, ylabel=title)
        one.margins(x=0.08)
    if others or first == "prior_nu":
        axes[0].legend()
    seeds = max(run.num_seeds for run in found.runs)
    below = f"held-out problems of {found.family}; {seeds} seeds, bars of two standard errors over them"
    return headed(figure, finding(found), below if seeds > 1 else f"held-out problems of {found.family}; one seed")


def _draw(axes: Any, at: Sequence[int], means: Sequence[float], sems: Sequence[float], color: str, label: str) -> None:
    bars = [0.0 if math.isnan(one) else 2 * one for one in sems]
    axes.errorbar(at, means, yerr=bars, color=color, marker="o", capsize=3, lw=1.8, label=label or "learned")
