"""Files that are whole or not there: written beside, flushed, then renamed."""

from __future__ import annotations

import math
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace ``path`` by ``content``; on any error the file that was there stays as it was.

    :raises OSError: if the folder cannot be written or the disk is full; names ``path``.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = _beside(path)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = str(path)
        with suppress(OSError):  # the one that is raised says what is wrong
            temporary.unlink(missing_ok=True)
        raise


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}-{os.getpid()}")


def check_writable(path: Path) -> None:
    """That ``path`` can be written once its folder is made, before hours go into what it is to hold.

    :raises OSError: if it cannot; names ``path``.
    """
    try:
        _beside(path).exists()  # an error if the name is too long
        there = next(folder for folder in path.absolute().parents if folder.exists())
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        error.filename = str(path)
        raise


def expanded(path: str | Path) -> Path:
    """``path`` with the home directory in place of ``~``; as it is where there is none of that name."""
    with suppress(RuntimeError):
        return Path(path).expanduser()
    return Path(path)


def remove_halves(path: Path) -> None:
    """Remove what ``write_atomically`` of ``path`` left beside it when it was killed; nobody else may be writing it."""
    for half in path.parent.glob(f".{path.name}-*"):
        half.unlink(missing_ok=True)


def finite_numbers(value: Any) -> Any:
    """``value`` as JSON can hold it: NaN and infinities become None."""
    if isinstance(value, dict):
        return {key: finite_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_numbers(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
