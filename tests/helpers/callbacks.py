"""A callback's example, run as it stands."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "examples"
LOSSES = (3.0, 2.0, 1.0, 1.5, 1.2, 1.4, 1.3, 1.1)
"""Of eight looks; the third is the best."""


def example(file: str, /, **options: Any) -> Any:
    """What the ``main`` of ``examples/FILE.py`` returns, which is to be short."""
    path = EXAMPLES / f"{file}.py"
    assert len(path.read_text().splitlines()) < 60
    return runpy.run_path(str(path))["main"](**options)
