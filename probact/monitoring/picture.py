"""What a monitor has seen, drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from probact.monitoring.signals import Array
from probact.support.palette import LEARNED, LOSS, OWN, ink, styled

NAMED = 1
"""Curves up to which each is in full colour."""


def draw(title: str, losses: Array, hazards: Array, best_look: NDArray[Any], stopped_at: NDArray[Any]) -> Figure:
    """Losses and hazards ``(N, n)`` of N curves, one above the other; looks are counted from 1, 0 for none."""
    with styled():
        figure = Figure(figsize=(8, 5), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        looks = np.arange(1, losses.shape[1] + 1)
        alpha = 1.0 if len(losses) <= NAMED else 0.5
        for row, values in enumerate(losses):
            above.plot(looks, values, color=LOSS, marker=".", ms=4, lw=1.2, alpha=alpha, label="validation metric")
            if look := best_look[row]:
                above.plot(look, values[look - 1], "o", mfc="none", ms=9, mew=1.5, color=ink(), label="best so far")
            below.plot(looks, 1 - np.cumprod(1 - hazards[row]), color=LEARNED, alpha=alpha, label="q(t <= look|x)")
            for axes in (above, below) if stopped_at[row] else ():
                axes.axvline(stopped_at[row], color=OWN, lw=1.2, alpha=alpha, label="own stop")
        above.set(ylabel="validation metric (its own units)", title=title)
        below.set(ylim=(0, 1), xlabel="number of looks", ylabel="probability")
        below.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        for axes in (above, below):
            named = {label: line for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
            axes.legend([*named.values()], [*named], loc="best")
    return figure
