"""What a figure of this project owes its reader: a unit on every axis, colours that stand for something."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from probact.support.palette import ROLES, ink, paper

UNIT = re.compile(r"\((nats|steps|accuracy|its own units|units of the (loss|data)|share of [^)]*|probability[^)]*)\)")
WITHOUT = re.compile(r"\b(number|share|probability|density|rank)\b")
"""Of what has no unit: the label has to say so."""


def axis_faults(figure: Figure) -> Iterator[str]:
    """Axes whose label says neither a unit nor that it has none; those that name things are told by their names."""
    for axes in figure.axes:
        for which in ("x", "y") if axes.axison else ():
            axis = getattr(axes, f"{which}axis")
            labels = [getattr(one, f"get_{which}label")() for one in (axes, *_sharing(axes, which))]
            label = next((one for one in labels if one), "")
            if not UNIT.search(label) and not WITHOUT.search(label) and not _names(axis):
                yield f"{which} axis of {axes.get_title('left')!r}: {label!r}"


def _sharing(axes: Axes, which: str) -> list[Axes]:
    return list(getattr(axes, f"get_shared_{which}_axes")().get_siblings(axes))


def _names(axis: Any) -> bool:
    """Whether nothing is measured: no ticks, or ticks that are words."""
    texts = [text.get_text() for text in axis.get_ticklabels() if axis.get_visible()]
    return not axis.get_visible() or not any(texts) or any(re.search("[A-Za-z]{3}", text) for text in texts)


def color_faults(figure: Figure) -> Iterator[str]:
    """Artists in a colour that is no role's, nor ink or paper; those coloured by a scale have many."""
    known = {to_rgb(color) for color in (*ROLES.values(), ink(), paper(), "white", "black")}
    for axes in figure.axes:
        if axes.get_label() == "<colorbar>":
            continue
        for artist in (*axes.lines, *axes.collections, *axes.patches):
            for color in _colors(artist):
                if to_rgb(color) not in known:
                    yield f"{artist} of {axes.get_title('left')!r}: {color}"


def _colors(artist: Any) -> Iterator[Any]:
    if isinstance(artist, Line2D):
        yield artist.get_color()
    elif isinstance(artist, Patch) and artist.get_fill():
        yield artist.get_facecolor()
    elif isinstance(artist, Collection) and artist.get_array() is None:
        yield from artist.get_facecolor()
        yield from artist.get_edgecolor()
