"""Commands and TOML files drawn at random: exit code 0 or 2, one line for what is refused, and the user's run stays."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from probact.cli import main
from probact.runs.experiment import SETTINGS
from tests.helpers.commands import ARGUMENTS
from tests.helpers.trainings import TINY

SMALL = {name: declared for name, declared in SETTINGS.items() if name not in {*TINY, "compiled", "device"}}
NUMBERS = ["0", "1", "2", "-1", "0.5", "8.7", "nan", "inf", "-inf", "-0.0", "1e999", "1_0", "٣", "0x2", str(2**63)]
TEXTS = ["", " ", "true", "no", "[]", "{}", "a=b", "=", "dim=3", "dim=0", "lr=nan", "none", "../x", "é ü", "\x00"]
WORDS = st.sampled_from([*NUMBERS, *TEXTS])
TOML = st.sampled_from(
    ["0", "1", "-1", "0.5", "8.7", "nan", "inf", "true", '""', '"nan"', '"x"', "[]", "[1, 2]", "{}", "{ dim = 3 }",
     "{ dim = [] }", "1979-05-27", "10_000_000_000_000_000_000", "="]
)  # fmt: skip
OTHERS = ["halt-stats", "evaluate", "compare", "export", "plot", "prior", "list", "report"]
OPTIONS = ["--out", "--seed", "--num-optimizees", "--json", "--at", "--baselines", "--stop", "--horizon", "--help"]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != "lock"}


class CommandLine(RuleBasedStateMachine):
    """A folder with a run of the user's, and commands given in it."""

    @initialize()
    def begin(self) -> None:
        self.before, self.folder = Path.cwd(), Path(tempfile.mkdtemp())
        os.chdir(self.folder)
        assert self.call("fit", *ARGUMENTS, "--out", "mine") == 0
        self.mine = content(Path("mine"))

    def call(self, *words: str) -> int:
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.object(sys, "argv", ["cli.py", *words]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as end,
        ):
            main.main()
        code = int(end.value.code or 0)
        assert code in (0, 2), (words, code)
        if code == 2:
            complaints = [line for line in err.getvalue().splitlines() if line.startswith("Error: ")]
            assert len(complaints) == 1, (words, err.getvalue())
            assert "Traceback" not in err.getvalue(), words
        return code

    @rule(names=st.lists(st.sampled_from(sorted(SMALL)), min_size=1, max_size=2), word=WORDS, to=st.booleans())
    def fit(self, names: Sequence[str], word: str, to: bool) -> None:
        given: list[str] = []
        for name in names:
            option = SETTINGS[name].options_of(name)[0]
            given += [option] if SETTINGS[name].kind is bool else [option, word]
        self.call("fit", *ARGUMENTS, "--meta-steps", "1", *given, "--out", "mine" if to else tempfile.mkdtemp(dir="."))

    @rule(name=st.sampled_from(sorted(SMALL)), value=TOML, mark=st.sampled_from(["", "\ufeff", "[", "x = 1\n"]))
    def fit_a_file(self, name: str, value: str, mark: str) -> None:
        Path("some.toml").write_text(f"{mark}{name.replace('_', '-')} = {value}\n")
        out = tempfile.mkdtemp(dir=".")
        self.call("fit", "--config", "some.toml", *ARGUMENTS, "--meta-steps", "1", "--out", out)

    @rule(command=st.sampled_from(OTHERS), words=st.lists(st.one_of(st.sampled_from(OPTIONS), WORDS), max_size=3))
    def ask(self, command: str, words: list[str]) -> None:
        self.call(command, *words)

    @rule(words=st.lists(st.one_of(st.sampled_from(["--out", "--jobs", "--lr"]), WORDS), min_size=1, max_size=2))
    def resume(self, words: list[str]) -> None:
        self.call("fit", "--resume", "mine", *words)

    @invariant()
    def what_was_there_is_there(self) -> None:
        if hasattr(self, "mine"):
            now = content(Path("mine"))
            changing = {"summary.json", "posterior.nc"}
            assert {name: now.get(name) for name in self.mine.keys() - changing} == {
                name: text for name, text in self.mine.items() if name not in changing
            }

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            os.chdir(self.before)
            shutil.rmtree(self.folder)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("num_runs", "num_steps"), [(2, 8), pytest.param(25, 20, marks=[pytest.mark.slow, pytest.mark.drawn])]
)
def test_any_command(num_runs: int, num_steps: int, monkeypatch: Any) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    run_state_machine_as_test(
        CommandLine, settings=settings(max_examples=num_runs, stateful_step_count=num_steps, deadline=None)
    )
