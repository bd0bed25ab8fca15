"""Columns of a table in a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

WIDTH = 100
"""Columns of a terminal that every table keeps to."""
LABEL_WIDTH = 40


Row = tuple[str, Sequence[Any]]
BETWEEN = 2
"""Spaces between two columns, at least."""


def table_row(label: str, cells: Sequence[Any], widths: Sequence[int], label_width: int = LABEL_WIDTH) -> str:
    """A line of a table: the label on the left, each cell right in its width; ``-`` for what is not known."""
    if len(label) > label_width:
        label = f"{label[: label_width // 2 - 2]}…{label[-label_width // 2 :]}"
    return f"{label:{label_width}}" + "".join(
        f"{as_text(cell):>{width}}" for cell, width in zip(cells, widths, strict=True)
    )


def table_lines(rows: Sequence[Row | str], least: Sequence[int]) -> list[str]:
    """Lines of a table whose columns are as wide as their longest cell needs, and the labels' as far as there is room.

    :param rows: label and cells; a text stands as it is.
    :param least: width of each column that is kept where the cells are shorter.
    """
    of_cells = [row for row in rows if not isinstance(row, str)]
    widths = fitted([cells for _, cells in of_cells], least)
    longest = max((len(label) for label, _ in of_cells), default=0)
    label_width = max(LABEL_WIDTH // 2, min(max(LABEL_WIDTH, longest), WIDTH - sum(widths)))
    return [row if isinstance(row, str) else table_row(*row, widths[: len(row[1])], label_width) for row in rows]


def fitted(rows: Sequence[Sequence[Any]], least: Sequence[int]) -> list[int]:
    """``least``, wider where a cell needs it; a row may have fewer cells."""
    longest = (max((len(as_text(row[place])) for row in rows if place < len(row)), default=0)
               for place in range(len(least)))  # fmt: skip
    return [max(width, size + BETWEEN) for width, size in zip(least, longest, strict=True)]


def as_text(cell: Any) -> str:
    """A cell as it is shown."""
    if cell is None or cell != cell:
        return "-"
    return cell if isinstance(cell, str) else f"{cell:.2f}" if isinstance(cell, float) else str(cell)


def mean_and_error(mean: float, sem: float) -> str:
    """A mean with its standard error, to the digits that this one leaves, but not to fewer than four."""
    if not math.isfinite(mean):
        return "diverged"
    if not sem > 0:
        return f"{mean:.4g}"
    digits = 1 - math.floor(math.log10(sem))
    if not 0 <= digits <= 5:
        return f"{mean:.5g} ±{sem:.0e}"
    return f"{mean:.{digits}f} ±{sem:.{digits}f}"
