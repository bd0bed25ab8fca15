"""What judging on training curves leaves in its folder."""

from __future__ import annotations

from pathlib import Path

from probact.judging.curves.results import CurvesEvaluation
from probact.support.extras import is_installed
from probact.support.files import write_atomically


def write(result: CurvesEvaluation, out: Path) -> None:
    """``curves.json`` and, with the extra ``plots``, ``figures`` to the folder ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "curves.json", result.to_json(indent=1) + "\n")
    if is_installed("plots"):
        from probact.reports.curves_figures import draw_all

        draw_all(result, out / "figures")
