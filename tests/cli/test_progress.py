from __future__ import annotations

import sys
import time

import pytest

from probact.cli.progress import progress, telling
from probact.runs.run import Record
from tests.helpers.trainings import tiny


def record(step: int, validation: float | None = None) -> Record:
    return Record(step, 1.5, None, 0.1, 0.01, 1.0, 0, 0, 1.0, validation)


def test_no_silence_of_more_than_ten_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first meta-step, each validation, and one line in ten seconds."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with progress(tiny(), bar=False) as show:
        for step, seconds, validation in ((1, 0, None), (2, 6, None), (3, 6, None), (4, 1, 0.5), (5, 9, None)):
            now += seconds
            show(record(step, validation))
    assert capsys.readouterr().err.splitlines() == [
        "seed 0: meta-step 1/6  loss 1.5 nats  |g| 0.1  0 s left",
        "seed 0: meta-step 3/6  loss 1.5 nats  |g| 0.1  12 s left",
        "seed 0: meta-step 4/6  validation 0.5 nats (best 0.5)  |g| 0.1  6 s left",
    ]


def test_what_takes_long_is_told_again(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probact.cli.progress.SECONDS_OF_SILENCE", 0.2)
    with telling() as tell:
        time.sleep(0.3)  # nothing was told yet
        tell("figures")
        time.sleep(0.5)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "figures"
    assert set(lines[1:]) == {"figures (0 s)"}
    assert 1 <= len(lines) - 1 <= 3
    time.sleep(0.3)
    assert not capsys.readouterr().err


def test_a_terminal_that_is_gone_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

        def flush(self) -> None:
            raise OSError(5, "Input/output error")

        def isatty(self) -> bool:
            return False

    with progress(tiny(), bar=False) as show:
        monkeypatch.setattr(sys, "stderr", Gone())
        show(record(1))
