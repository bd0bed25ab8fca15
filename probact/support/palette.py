"""What each colour of a figure stands for, on light and on dark paper, and the sizes of its text.

Roles have the same colour in every figure.  Every pair of them stays apart in simulated deuteranopia and protanopia
(CIELAB distance of 15 or more), and each has a contrast of 3:1 or more to its paper, as WCAG 2.1 (1.4.11) asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cycler import cycler
from matplotlib import rc_context, rcParams
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb

LEARNED, EXACT, BUDGET, PATIENCE, PRIOR, OWN, LOSS = (f"C{place}" for place in range(7))
"""Learned q(t|x), exact posterior, fixed budget, patience, prior, own stop, loss.  The best step in hindsight and what
plays no role are in ``ink``."""
ROLES = {
    "learned q(t|x)": LEARNED, "exact posterior": EXACT, "best budget": BUDGET, "best patience": PATIENCE,
    "prior": PRIOR, "own stop": OWN, "loss": LOSS,
}  # fmt: skip
"""What a role is called in legends."""
_COMMON: dict[str, Any] = {
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "axes.titlelocation": "left",
    "axes.labelsize": "medium",
    "xtick.labelsize": "small",
    "ytick.labelsize": "small",
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
    "light": _style("white", "#222222", "#0a5cc2 #d47403 #2c8c4d #c775d0 #919191 #970a5b #6e3d10"),
    "dark": _style("#14171c", "#e8ecf3", "#26c9ea #ffa363 #41f492 #dc6cfa #8a9098 #db3b75 #c48e63"),
}


@contextmanager
def styled(style: str = "light") -> Iterator[None]:
    """Within, figures are made and written in that style."""
    with rc_context(STYLES[style]):
        yield


def ink() -> str:
    """The colour of text, of the best step in hindsight, and of lines that play no role."""
    return str(rcParams["text.color"])


def paper() -> str:
    """The colour behind everything."""
    return str(rcParams["figure.facecolor"])


def series(place: int) -> str:
    """Of the run, family or rule in that place, where a figure compares several and no role is drawn."""
    return f"C{place % len(ROLES)}"


def from_none_to_much() -> Colormap:
    """Colours for amounts of what had better be nothing."""
    return LinearSegmentedColormap.from_list("from none to much", [to_rgb(LEARNED), to_rgb(PRIOR), to_rgb(EXACT)])


def from_paper_to_full() -> Colormap:
    """Colours for probabilities, on which ink and the stops can be seen."""
    return LinearSegmentedColormap.from_list("from paper to full", [to_rgb(paper()), to_rgb(LEARNED)])
