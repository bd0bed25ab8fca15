"""What a monitor has seen, drawn."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from probact.monitoring.signals import Array


class Picture(Figure):
    """A figure that a notebook shows as it is, also where Matplotlib's own backend was not asked for."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def draw(title: str, losses: Array, hazards: Array, best_look: NDArray[Any], stopped_at: NDArray[Any]) -> Figure:
    """Losses and hazards ``(N, n)`` of N curves; looks are counted from 1, 0 for none."""
    figure = Picture(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    spent = axes.twinx()
    looks = np.arange(1, losses.shape[1] + 1)
    for row, values in enumerate(losses):
        colour = f"C{row % 10}"
        axes.plot(looks, values, color=colour, marker=".", ms=3)
        if look := best_look[row]:
            axes.plot(look, values[look - 1], "o", mfc="none", color=colour)
        if stopped_at[row]:
            axes.axvline(stopped_at[row], color=colour, ls="--", lw=1)
        spent.plot(looks, 1 - np.cumprod(1 - hazards[row]), color=colour, alpha=0.4)
    axes.set(xlabel="look", ylabel="validation metric (o: best, dashed: stop)", title=title)
    spent.set(ylim=(0, 1), ylabel="q(t <= look | x), pale")
    return figure
