from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from probact.cli import advice
from tests.helpers.commands import refused

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.parametrize(
    ("called", "shown"),
    [
        ("cli.py", "python cli.py plot 'a run'"),
        ("/usr/lib/python3/probact/__main__.py", "python -m probact plot 'a run'"),
        ("/usr/bin/probact", "probact plot 'a run'"),
    ],
)
def test_commands_are_shown_as_the_program_was_called(called: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [called])
    assert advice.command("plot", Path("a run")) == shown


def test_advice_works_when_it_is_followed(elsewhere: Path, run: Any, fitted: Any) -> None:
    """Nothing there, then a run that lost one file after another: each time the command that the error names."""
    code, _, error = run("halt-stats")
    assert (code, error) == (2, "Error: no run yet; make it with: python cli.py fit --prior-nu 0.95\n")
    fitted("a run")
    for lost, asks in (
        ("checkpoint.pt", ("halt-stats", "a run")),
        ("summary.json", ("export", "a run", "--out", "b.pt", "--card")),
        ("posterior.nc", ("plot", "a run")),
    ):
        (elsewhere / "a run" / lost).unlink()
        answer = run(*asks)
        refused(answer, lost, "make it with: python cli.py fit --resume 'a run'")
        followed = shlex.split(answer[2].partition("python cli.py ")[2])
        assert run(*followed)[0] == 0
        assert run(*asks)[0] == 0
    refused(run("evaluate", "a run", "a run.pt", "--family", "quadratic"), "a run.pt: no run there, no file")


def test_the_best_stop_is_worn_as_evaluate_says(elsewhere: Path, run: Any, fitted: Any) -> None:
    fitted("a run", "--chains", "2")
    out = run("evaluate", "a run", "--baselines", "none", "--num-optimizees", "16")[1]
    (advice,) = [line for line in out.splitlines() if line.startswith("next: python cli.py export")]
    code, said, error = run(*shlex.split(advice.partition("python cli.py ")[2]))
    assert code == 0, error
    assert "stop" in said
