"""How figures are laid out: panels, a title that states a finding, whole-number ticks; writing them.

Their colours, with what each stands for, are those of ``support.palette``, and are to be had from here, too.
"""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from probact.support.files import write_atomically
from probact.support.palette import (
    BUDGET as BUDGET,
    EXACT as EXACT,
    LEARNED as LEARNED,
    LOSS as LOSS,
    OWN as OWN,
    PATIENCE as PATIENCE,
    PRIOR as PRIOR,
    ROLES as ROLES,
    STYLES as STYLES,
    from_none_to_much as from_none_to_much,
    from_paper_to_full as from_paper_to_full,
    ink as ink,
    paper as paper,
    series as series,
    styled as styled,
)

WIDTH = 10.0
"""Of a figure, in inches."""


def panels(
    rows: int, columns: int, height: float, *, width: float = WIDTH, left: float = 0.75, right: float = 0.25,
    top: float = 0.95, bottom: float = 0.55, between: float = 0.25, **options: Any,
) -> tuple[Figure, Any]:  # fmt: skip
    """A figure and its axes, an array; margins in inches, as a layout engine takes longer than all the rest.

    :param between: the space between columns, as a share of their width.
    """
    figure = Figure(figsize=(width, height))
    edges = (left / width, bottom / height, 1 - right / width, 1 - top / height)
    figure.subplots_adjust(*edges, wspace=between, hspace=0.12)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def headed(figure: Figure, finding: str, below: str) -> Figure:
    """``figure`` with what it shows as its title, and what it is of in a smaller line below."""
    width, height = figure.get_size_inches()
    finding = "\n".join(textwrap.wrap(finding, int(11 * width)))
    figure.suptitle(finding, x=0.1 / width, y=1 - 0.08 / height, ha="left", va="top", fontsize="large")
    figure.text(
        0.1 / width, 1 - (0.35 + 0.2 * finding.count("\n")) / height, below, va="top", fontsize="small", alpha=0.7
    )
    return figure


def whole(axis: Axis) -> None:
    """Ticks at whole numbers."""
    axis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))


def log_scale(axes: Axes, names: str) -> None:
    """Logarithmic axes, ``x``, ``y`` or ``xy``, with plain ticks at 1, 2, 5, 10, ..., or 1, 10, ... where many fit."""
    for name in names:
        axes.set(**{f"{name}scale": "log"})
        axis: Axis = getattr(axes, f"{name}axis")
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 3000 * low else (1.0,)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def save_figure(figure: Figure, path: Path) -> Path:
    """Write it, atomically, in the format that its suffix names; PNG where it names none."""
    buffer, kind = io.BytesIO(), path.suffix.removeprefix(".") or "png"
    figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else None)
    write_atomically(path, buffer.getvalue())
    return path
