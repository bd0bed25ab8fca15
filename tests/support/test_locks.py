from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from probact.support.locks import HeldError, held, is_held

HOLDER = """
import sys, time
from pathlib import Path
from probact.support.locks import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_one_process_at_a_time_and_a_dead_one_keeps_nothing(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert is_held(lock)
        with pytest.raises(HeldError, match=f"in use by process {process.pid}: ") as refused, held(lock):
            pass
        assert "\n" not in str(refused.value)
        process.send_signal(signal.SIGKILL)
    assert not is_held(lock)
    with held(lock):
        assert is_held(lock)
        assert lock.read_text() == f"{os.getpid()}\n"
    assert not is_held(lock)


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "none" / "lock")
