"""How figures look, light or dark: colours by role, whole-number ticks, a title that states a finding; writing them."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cycler import cycler
from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from probact.support.files import write_atomically

LEARNED, EXACT, BUDGET, PATIENCE, PRIOR = "C0", "C1", "C2", "C3", "C4"
"""Colours by role, the same in every figure."""
_COMMON: dict[str, Any] = {
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": "small",
    "svg.fonttype": "none",
    "svg.hashsalt": "probact",  # the same data, the same file
}


def _style(paper: str, ink: str, colors: str) -> dict[Any, Any]:
    of_paper, of_ink = ("figure", "axes", "savefig"), ("text.color", "axes.edgecolor", "axes.labelcolor")
    return {
        **_COMMON,
        **{f"{name}.facecolor": paper for name in of_paper},
        **dict.fromkeys((*of_ink, "axes.titlecolor", "xtick.color", "ytick.color"), ink),
        "axes.prop_cycle": cycler(color=colors.split()),
    }


STYLES = {
    "light": _style("white", "#222222", "#0a6fb4 #d95f02 #2a9d5c #a457a8 #999999 #8c564b #17a2b8 #bcbd22"),
    "dark": _style("#14171c", "#d8dce3", "#5ab4f0 #ff9f4a #5fd08f #d59be0 #8a8f98 #c9a08f #5fd6e6 #d9da6a"),
}
WIDTH = 10.0
"""Of a figure, in inches."""


@contextmanager
def styled(style: str = "light") -> Iterator[None]:
    """Within, figures are made and written in that style."""
    with rc_context(STYLES[style]):
        yield


def ink() -> str:
    """The colour of text and lines that play no role."""
    return str(rcParams["text.color"])


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


def from_none_to_much() -> Colormap:
    """Colours for amounts of what had better be nothing."""
    return LinearSegmentedColormap.from_list("from none to much", [to_rgb(LEARNED), to_rgb(PRIOR), to_rgb(EXACT)])


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
