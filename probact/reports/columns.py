"""Columns of a table in a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

WIDTH = 100
"""Columns of a terminal that every table keeps to."""
LABEL_WIDTH = 40


def table_row(label: str, cells: Sequence[Any], widths: Sequence[int]) -> str:
    """A line of a table: the label on the left, each cell right in its width; ``-`` for what is not known."""

    def text(cell: Any) -> str:
        if cell is None or cell != cell:
            return "-"
        return cell if isinstance(cell, str) else f"{cell:.2f}" if isinstance(cell, float) else str(cell)

    if len(label) > LABEL_WIDTH:
        label = f"{label[: LABEL_WIDTH // 2 - 2]}…{label[-LABEL_WIDTH // 2 :]}"
    return f"{label:{LABEL_WIDTH}}" + "".join(
        f"{text(cell):>{width}}" for cell, width in zip(cells, widths, strict=True)
    )


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
