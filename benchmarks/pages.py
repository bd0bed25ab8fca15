"""What the benchmark pages are made of: results read, numbers rounded, Markdown tables."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from probact.judging.results import Evaluation
from probact.support.files import write_atomically

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results"


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    """What has been measured, a row a line; none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def read_evaluation(name: str) -> Evaluation:
    return Evaluation.from_json((RESULTS / f"{name}.json").read_text())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *escaped))


def fill(page: Path, made: dict[str, str]) -> None:
    """Write each text of ``made`` between the marks ``<!-- NAME -->`` and ``<!-- /NAME -->`` of a page."""
    text = page.read_text()
    for mark, content in made.items():
        before, begin, rest = text.partition(f"<!-- {mark} -->\n")
        _, end, after = rest.partition(f"<!-- /{mark} -->\n")
        if not begin or not end:
            sys.exit(f"Error: {page}: expected the marks <!-- {mark} --> and <!-- /{mark} -->")
        text = f"{before}{begin}{content}\n{end}{after}"
    write_atomically(page, text)


def number(value: float | None, digits: int = 4) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.{digits}g}" if abs(value) < 1e4 else f"{value:.0e}"


def with_error(value: float | None, error: float | None) -> str:
    return number(value) + ("" if error is None or math.isnan(error) else f" ± {error:.1g}")


def share(value: float) -> str:
    return f"{100 * value:.2f} %"
