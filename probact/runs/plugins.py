"""Which modules a run was made with (``--import``): noted beside its settings, so that a later command can name them.

They are noted, never imported: a run's folder may come from anybody, and importing a module runs it.
"""

from __future__ import annotations

import json
from pathlib import Path

from probact.support.files import write_atomically
from probact.support.plugins import imported_plugins

FILE = "plugins.json"
"""Beside ``experiment.json``; absent where no module was imported."""


def note_plugins(run_folder: Path) -> None:
    """Write down what this process has imported so far."""
    if modules := imported_plugins():
        write_atomically(run_folder / FILE, json.dumps({"import": modules}, indent=2) + "\n")


def noted_plugins(run_folder: Path) -> list[str]:
    """What ``note_plugins`` wrote; none where there is no such file or it says something else."""
    try:
        modules = json.loads((run_folder / FILE).read_text("utf-8"))["import"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    fine = isinstance(modules, list) and all(isinstance(one, str) and one.isprintable() and one for one in modules)
    return modules if fine else []


def missing_plugins(run_folder: Path) -> list[str]:
    """Those of ``noted_plugins`` that this process has not imported."""
    return [module for module in noted_plugins(run_folder) if module not in imported_plugins()]
