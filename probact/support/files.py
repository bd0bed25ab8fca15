"""Files that are whole or not there: written beside, flushed, then renamed."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace ``path`` by ``content``; on any error the file that was there stays as it was.

    :raises OSError: if the folder cannot be written or the disk is full.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def finite_numbers(value: Any) -> Any:
    """``value`` as JSON can hold it: NaN and infinities become None."""
    if isinstance(value, dict):
        return {key: finite_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_numbers(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
