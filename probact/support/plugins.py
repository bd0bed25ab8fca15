"""Modules of the user's own that register parts: imported by name, in every process that trains."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from probact.support.registry import Registry

_imported: dict[str, None] = {}


def import_plugins(modules: Iterable[str]) -> list[str]:
    """Import each of ``modules``: a name, or a path to a ``.py`` file.  The current directory counts.

    :returns: those that were not yet imported and have not registered a part.
    :raises ValueError: if there is no such module, or if it fails.
    """
    idle = []
    for module in modules:
        path = Path(module).resolve() if module.endswith(".py") else None
        if path is not None and not path.is_file():
            raise ValueError(f"import {module}: no such file")
        folder = str(Path.cwd() if path is None else path.parent)
        if folder not in sys.path:
            sys.path.append(folder)  # last: a file that lies there hides no library
        num_before, is_new = Registry.num_registered, (module if path is None else path.stem) not in sys.modules
        try:
            found = import_module(module if path is None else path.stem)
        except Exception as error:
            raise ValueError(f"import {module}: {type(error).__name__}: {error}") from error
        if path is not None and path != Path(found.__file__ or "").resolve():
            raise ValueError(f"import {module}: another module has the name {path.stem!r}: {found.__file__}")
        _imported[str(path or module)] = None
        if is_new and Registry.num_registered == num_before:
            idle.append(module)
    return idle


def imported_plugins() -> list[str]:
    """What ``import_plugins`` was given so far, for another process to import too."""
    return list(_imported)
