"""Commands called in this process, or in one of their own."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from probact.cli import main
from probact.cli.fit import asked_for, command_line, fit
from probact.runs.experiment import SETTINGS, Experiment
from tests.helpers.preloaded import cli
from tests.helpers.trainings import TINY

NOT_SETTINGS = {"resume", "seeds", "chains", "out", "jobs", "threads", "loggers"}
ARGUMENTS = [part for key, value in TINY.items() for part in (f"--{key.replace('_', '-')}", str(value))]


def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["cli.py", *arguments])
    with pytest.raises(SystemExit) as stop:
        main.main()
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def refused(result: tuple[int, str, str], *words: str) -> None:
    """Exit code 2 and one clear line."""
    code, _, err = result
    assert code == 2, err
    complaint = [line for line in err.splitlines() if line]
    assert len(complaint) == 1, err
    assert complaint[0].startswith("Error: ")
    for word in words:
        assert word in complaint[0], complaint[0]


def parsed(command: str) -> Experiment:
    """What click and ``fit`` make of the line."""
    python, cli, name, *arguments = shlex.split(command)
    assert (python, cli, name) == ("python", "cli.py", "fit")
    params = fit.make_context("fit", arguments).params
    experiment, _ = asked_for({key: value for key, value in params.items() if key not in NOT_SETTINGS})
    return replace(experiment, seed=next(iter(params["seeds"]), 0))


def plain(experiment: Experiment) -> Experiment:
    """With the options as text, as the command line has them."""

    def texts(options: Mapping[str, Any]) -> dict[str, str]:
        return {key: ",".join(map(str, v)) if isinstance(v, list) else str(v) for key, v in options.items()}

    names = [name for name in SETTINGS if name.endswith("_options")]
    return replace(experiment, **{name: texts(getattr(experiment, name)) for name in names})


def assert_reproduced(experiment: Experiment) -> None:
    assert plain(parsed(command_line(experiment))) == plain(experiment)


def command(folder: Path, line: str, **environment: str) -> tuple[int, str, str]:
    """The command line itself, in a process of its own: exit code, output and errors."""
    process = cli(folder, *line.split(), **environment)
    out, err = process.communicate(timeout=300)
    assert process.returncode is not None
    return process.returncode, out, err
