"""Where a trained optimizer is found: in a run's folder, or in a file that ``export`` wrote."""

from __future__ import annotations

from pathlib import Path

from probact.pretrained import Pretrained
from probact.runs import Run


def best_of(source: str) -> Pretrained:
    """The optimizer at ``source``; of a run the weights, of all its seeds, that validated best."""
    path = Path(source)
    return Run.open(path).best().pretrained() if path.is_dir() else Pretrained.load(path)
