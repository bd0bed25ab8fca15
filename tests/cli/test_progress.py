from __future__ import annotations

import fcntl
import os
import struct
import sys
import termios
import time

import pytest

from probact.cli.progress import TimeLeft, progress, telling
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
        "seed 0: meta-step 1/6  loss 1.5 nats  |g| 0.1",
        "seed 0: meta-step 3/6  loss 1.5 nats  |g| 0.1  18 s left",
        "seed 0: meta-step 4/6  validation 0.5 nats (best 0.5)  |g| 0.1  9 s left",
    ]


def test_the_first_meta_step_is_no_measure_of_those_that_follow() -> None:
    left = TimeLeft(2000)
    assert [left(step, now) for step, now in ((101, 30.0), (102, 30.1), (103, 30.2), (200, 39.9))] == [
        "", "", "3 min", "3 min",
    ]  # fmt: skip
    assert left(2000, 300.0) == "0 s"


def test_a_line_says_which_training_of_a_grid_it_is_of(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(tiny(prior_nu=0.8, rule="sgd"), bar=False, varied=("prior_nu", "rule")) as show:
        show(record(1))
    assert capsys.readouterr().err.startswith("nu 0.8 rule sgd seed 0: meta-step 1/6")


def test_the_bar_of_a_terminal_of_80_columns_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress(tiny(meta_steps=2000)) as show:
            for step in (1997, 1998, 1999, 2000):
                show(Record(step, 1234.5, 12.34, 0.1, 0.01, 1.0, 0, 0, 1.0, 1230.5, amortisation_gap=0.123))
    shown = os.read(ours, 100_000).decode().replace("\n", "\r").split("\r")
    os.close(ours)
    assert max(map(len, shown)) <= 80
    last = [line for line in shown if "2000/2000" in line][-1]
    assert last.startswith("seed 0 |")
    assert last.rstrip().endswith("| 2000/2000, 0 s left, loss 1234 E[t] 12.3 gap 0.12 val 1230")


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
