"""``--import``: parts of a file of the user's own, in every command and process."""

from __future__ import annotations

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
    missing = command(elsewhere, "halt-stats run --num-optimizees 2")
    refused(missing, "experiment.json: family: expected one of", "'bowls'", "a plug-in? name its module with --import")


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
