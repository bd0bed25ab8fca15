"""The documents: what they link to exists, what is drawn is current, what is promised to be short is short."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import probact
from probact.testing import check_family, check_stop_rule
from tests.helpers.preloaded import script

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "probact"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def code_paths(text: str) -> list[str]:
    """What stands in backticks and is a path by its look: ``runs/experiment.py``, ``tests/``, ``inference/priors``."""
    folders = "|".join(path.name for home in (ROOT, PACKAGE) for path in home.iterdir() if path.is_dir())
    return [path for path in re.findall(rf"`((?:{folders})/[\w./-]*)`", text) if "NAME" not in path]


@each_page
def test_links(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@each_page
def test_paths(page: Path) -> None:
    def exists(path: str) -> bool:
        return any((home / name).exists() for home in (ROOT, PACKAGE) for name in (path, f"{path}.py"))

    assert [path for path in code_paths(page.read_text()) if not exists(path)] == []


@each_page
def test_no_path_of_a_machine(page: Path) -> None:
    assert re.findall(r"(?<![\w.:/<])[/~]/?\w+/\S+", page.read_text()) == []


def test_every_page_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        reached.add(page)
        linked = {(page.parent / link).resolve() for link in re.findall(r"\]\(([^)#:]+\.md)", page.read_text())}
        todo += linked - reached
    assert reached.issuperset(PAGES)


def test_every_page_has_its_place_in_the_site() -> None:
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    placed = re.findall(r"(?:- |: )([\w./-]+\.(?:md|ipynb))$", nav, re.MULTILINE)
    pages = {
        str(path.relative_to(ROOT / "docs")) for kind in ("md", "ipynb") for path in (ROOT / "docs").rglob(f"*.{kind}")
    }
    cards = {f"cards/{path.name}" for path in (ROOT / "probact" / "weights").glob("*.md")} - {"cards/README.md"}
    assert (pages | cards) - set(placed) == set()
    assert len(placed) == len(set(placed))


def test_the_site_is_built_so_that_warnings_count() -> None:
    (line,) = re.findall(r"mkdocs build.*", (ROOT / ".ci" / "run").read_text())
    assert line == "mkdocs build --strict"  # with --quiet no warning is counted


def test_the_map_is_short_and_whole() -> None:
    section = (ROOT / "README.md").read_text().partition("## A newcomer's map\n")[2].partition("\n## ")[0]
    assert len([line for line in section.splitlines() if line.strip()]) <= 15
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms <= set(re.findall(r"`(\w+)`", section))


def test_the_table_of_faults_names_tests_that_are_there() -> None:
    named = re.findall(r"`(\w+/test_\w+\.py)`", (ROOT / "tests" / "FAULTS.md").read_text())
    assert len(named) > 20
    assert [path for path in named if not (ROOT / "tests" / path).exists()] == []


def test_the_parts_shown_keep_their_promises(tmp_path: Path) -> None:
    code = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    (tmp_path / "shown.py").write_text("\n".join(code))
    with probact.FAMILIES.temporarily(), probact.STOP_RULES.temporarily():
        runpy.run_path(str(tmp_path / "shown.py"))
        check_family(probact.FAMILIES["poisson"])
        check_stop_rule(probact.STOP_RULES["flat"])


def test_each_letter_has_one_row() -> None:
    lines = (ROOT / "docs" / "letters.md").read_text().splitlines()
    cells = [line.split("|")[1] for line in lines if re.match(r"\| (?!\*\*)", line)]
    names = [name.strip() for cell in cells for name in cell.split(",")]
    assert len(names) > 60
    assert {name for name in names if names.count(name) > 1} == set()


def test_the_drawn_model_is_current() -> None:
    script(ROOT, ROOT / "docs" / "draw_model.py", "--check").output()


def test_the_drawn_rooms_are_current() -> None:
    pytest.importorskip("grimp", reason="grimp comes with the extra 'lint'")
    command = [sys.executable, str(ROOT / "docs" / "draw_rooms.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
