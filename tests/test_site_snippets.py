"""What the site's pages tell a reader to type: Python is run, commands are read, numbers stand where they come from."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl
import pytest
import torch

import probact
from probact.cli.main import cli
from probact.testing import check_family
from tests.helpers import preloaded

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / "docs" / f"{name}.md" for name in ("index", "start", "maths", "faq", "compared", "benchmarks")),
    ROOT / "docs" / "shipped.md",
    ROOT / "docs" / "api" / "index.md",
    *sorted(ROOT.glob("docs/how-to/*.md")),
]
PYTHON = [page for page in PAGES if "```python" in page.read_text()]
mpl.use("agg")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """The words of every line for ``cli.py``: of shell blocks, and of the text."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    lines += [f"python {words}" for words in re.findall(r"`python (cli\.py [^`]*)`", page.read_text())]
    read = [shlex.split(line, comments=True) for line in lines]
    return [words[words.index("cli.py") + 1 :] for words in read if "cli.py" in words]


LINES = [(page, words) for page in PAGES for words in commands(page)]


@pytest.mark.parametrize(("page", "words"), LINES, ids=[f"{page.stem}: {' '.join(words)}" for page, words in LINES])
def test_the_command_is_one(page: Path, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("DATA").mkdir()
    words = ["0" if word.startswith("$") else word for word in words]
    with probact.FAMILIES.temporarily(), probact.HORIZON_PRIORS.temporarily():
        if words[0] == "--import":  # the page's first block is that file
            exec(compile(blocks(page, "python")[0], words[1], "exec"), {})
            words = words[2:]
        group: Any = cli
        while isinstance(group, click.Group):
            found = group.get_command(click.Context(group), words[0])
            assert found is not None, page.name
            group, words = found, words[1:]
        group.make_context(group.name, words)


def given(page: Path) -> dict[str, Any]:
    """What the page takes as there."""
    losses = iter(2.0**-look for look in range(2000))
    return {"model": torch.nn.Linear(1, 1), "train": lambda _: None, "validate": lambda _: next(losses)}


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: page.stem)
def test_the_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fitted: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    if page.stem == "posterior-file":
        fitted("RUN", "--chains", "2")
    names = given(page)
    with probact.FAMILIES.temporarily(), probact.HORIZON_PRIORS.temporarily():
        for block in blocks(page, "python"):
            exec(compile(block, page.name, "exec"), names)
        if page.stem == "own-data":
            check_family(names["Patients"])
    said = capsys.readouterr().out
    expected = {"index": "stopped at look", "start": "50 steps", "own-prior": "E[t] = ", "posterior-file": "nats from"}
    assert expected.get(page.relative_to(ROOT / "docs").with_suffix("").as_posix().removeprefix("how-to/"), "") in said


def test_the_file_of_the_page_is_imported(tmp_path: Path) -> None:
    (code, *_) = blocks(ROOT / "docs" / "how-to" / "own-prior.md", "python")
    (tmp_path / "weekly.py").write_text(code)
    words = ("--import", "weekly.py", "prior", "--horizon-prior", "weekly", "--horizon-prior-option", "days=5")
    preloaded.cli(tmp_path, *words).output()
    assert (tmp_path / "prior.png").exists()


def numbers(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w.])\d*\.\d+(?:e-?\d+)?", text))


def test_figures_of_others_stand_where_they_come_from() -> None:
    pages = ("benchmarks/README.md", "docs/black-box.md", "docs/when-should-i-stop.md")
    sources = set[str]().union(*(numbers((ROOT / name).read_text()) for name in pages))
    rows = [line for line in (ROOT / "docs" / "compared.md").read_text().splitlines() if line.startswith("|")]
    quoted = set[str]().union(*(numbers(row) for row in rows))
    assert len(quoted) > 80
    assert quoted - sources - {".001", ".01"} == set()


def test_every_public_name_is_on_the_page_of_the_api() -> None:
    page = (ROOT / "docs" / "api" / "index.md").read_text()
    assert {name for name in probact.__all__ if f"[{name}][" not in page} == set()


def test_every_room_has_a_page_of_the_api_whose_modules_are_there() -> None:
    rooms = {path.parent.name for path in (ROOT / "probact").glob("*/__init__.py")} - {"cli"}
    assert {path.stem for path in ROOT.glob("docs/api/*.md")} == rooms | {"index"}
    for page in ROOT.glob("docs/api/*.md"):
        modules = re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)
        assert [name for name in modules if not (ROOT / f"{name.replace('.', '/')}.py").exists()] == []
