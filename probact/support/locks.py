"""One process at a time: a lock that the system takes from a process that is dead."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl


class HeldError(ValueError):
    """Another process has the lock."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Within, this process alone holds the file ``path``, which names its id; on Windows nothing is locked.

    :raises HeldError: if another one does.
    :raises OSError: if the file cannot be written.
    """
    with path.open("a+") as file:
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise HeldError(
                    f"{path.parent}: in use by process {file.read().strip()}: wait for it, or end it first"
                ) from None
            except OSError:
                pass  # a file system without locks
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def is_held(path: Path) -> bool:
    """Whether a process, this one or another, holds ``path``."""
    try:
        with suppress(OSError), held(path):
            pass
    except HeldError:
        return True
    return False
