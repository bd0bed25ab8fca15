"""``--import``: parts of a file of the user's own, in every command and process."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import command, refused

BOWLS = """
import torch

from probact import FAMILIES
from probact.problems.linear import Quadratic


@FAMILIES.register("bowls")
class Bowls(Quadratic):
    "Quadratic problems of a file."
"""
LOGGER = """
from probact.training.loggers.base import LOGGERS, Logger


@LOGGERS.register("last-line")
class LastLine(Logger):
    def write(self, step, numbers):
        (self.place.folder / "last.txt").write_text(str(step))
"""
FIT = "fit --family bowls --horizon 3 --batch 2 --meta-steps 1 --validation-problems 2 --test-problems 2 --out run"


def test_a_family_of_a_file(elsewhere: Path) -> None:
    """Trained by two processes side by side, listed, and missed where it is not imported."""
    (elsewhere / "my_family.py").write_text(BOWLS)
    code, out, err = command(elsewhere, f"--import my_family.py {FIT} --chains 2 --jobs 2")
    assert code == 0, out + err
    assert f"next: python cli.py --import {elsewhere / 'my_family.py'} halt-stats run" in out
    assert "my_family" not in (elsewhere / "run" / "experiment.json").read_text()
    code, out, err = command(elsewhere, "list", PROBACT_IMPORT="my_family")
    assert err == ""
    assert "bowls                 Quadratic problems of a file." in out
    _, out, _ = command(elsewhere, "report run", PROBACT_IMPORT="my_family")
    assert out.startswith("written to run/report.html")


@pytest.fixture(scope="module")
def made_with_a_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ``my_family.py`` and a run of its family lie."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "my_family.py").write_text(BOWLS)
    code, out, err = command(folder, f"--import my_family.py {FIT}")
    assert code == 0, out + err
    return folder


NEEDS_IT = ["report run", "plot run", "compare run run-2", "halt-stats run", "evaluate run", "export run --out run.pt",
            "fit --resume run"]  # fmt: skip


@pytest.mark.parametrize("line", NEEDS_IT)
def test_a_run_names_the_module_that_it_was_made_with(
    line: str, made_with_a_plugin: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made_with_a_plugin)
    again = f"python cli.py --import {made_with_a_plugin / 'my_family.py'} {line}"
    refused(run(*line.split()), "experiment.json: family: expected one of", "'bowls'", f"if it is yours: {again}")


def test_the_command_that_is_named_works(made_with_a_plugin: Path) -> None:
    _, _, err = command(made_with_a_plugin, "report run --out page.html")
    line = err.strip().partition("if it is yours: python cli.py ")[2]
    assert command(made_with_a_plugin, line) == (0, "written to page.html: 0.1 MB, opens in any browser\n", "")


def test_a_folder_of_a_stranger_runs_no_code(
    made_with_a_plugin: Path, elsewhere: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made_with_a_plugin / "run", elsewhere / "got")
    (elsewhere / "trap.py").write_text("from pathlib import Path\n\nPath('sprung').touch()\n")
    for content in ({"import": ["trap.py"]}, {"import": ["trap\nError: x"]}, {"import": 3}, [], {"import": [[]]}):
        (elsewhere / "got" / "plugins.json").write_text(json.dumps(content))
        named = "--import trap.py report got" if content == {"import": ["trap.py"]} else "a plug-in? name its module"
        refused(run("report", "got"), "'bowls'", named)
    (elsewhere / "got" / "plugins.json").write_bytes(b"\xff")
    refused(run("report", "got"), "'bowls'", "a plug-in? name its module")
    assert not (elsewhere / "sprung").exists()


def test_a_logger_of_a_file_is_named_too(elsewhere: Path, run: Any) -> None:
    (elsewhere / "my_logger.py").write_text(LOGGER)
    fit = FIT.replace("bowls", "quadratic")
    assert command(elsewhere, f"--import my_logger.py {fit} --log last-line")[0] == 0
    settings = elsewhere / "run" / "experiment.json"
    settings.write_text(settings.read_text().replace('"meta_steps": 1', '"meta_steps": 2'))
    refused(run("fit", "--resume", "run"), "unknown logger 'last-line'", f"--import {elsewhere / 'my_logger.py'} fit")


@pytest.mark.parametrize("content", ["", "x = 1\n", "from probact import FAMILIES\n\n\nclass Bowls:\n    pass\n"])
def test_a_file_that_registers_nothing_is_told(content: str, elsewhere: Path) -> None:
    (elsewhere / "idle.py").write_text(content)
    code, out, err = command(elsewhere, "--import idle.py list")
    assert code == 0
    assert "families (--family)" in out
    assert err == "import idle.py: registers no part, as @probact.FAMILIES.register('name') does\n"


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("", "--import nowhere list", ["import nowhere: ModuleNotFoundError: No module named 'nowhere'"]),
        ("", "--import nowhere.py list", ["import nowhere.py: no such file"]),
        ("1 / 0", "--import broken list", ["import broken: ZeroDivisionError: division by zero"]),
        ("def", "--import broken.py list", ["import broken.py: SyntaxError"]),
        ("", "fit --family bowls", ["--family", "regression", "'bowls'; a plug-in? name its module with --import"]),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_one_line(
    content: str, line: str, words: list[str], elsewhere: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (elsewhere / "broken.py").write_text(content)
    refused(run(*line.split()), *words)
