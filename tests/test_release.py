"""A release: one version everywhere, pages of the shipped weights, workflows that call what is there."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import probact
from tests.helpers.preloaded import script

ROOT = Path(__file__).parent.parent
RUN = ROOT / ".ci" / "run"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
released = runpy.run_path(str(ROOT / ".ci" / "notes.py"))["released"]
contents = runpy.run_path(str(ROOT / ".ci" / "contents.py"))
Card = runpy.run_path(str(ROOT / "docs" / "make_models.py"))["Card"]


def steps_of_run() -> set[str]:
    """Functions of ``.ci/run`` that it takes as arguments."""
    script = RUN.read_text()
    (listed,) = re.findall(r'^all="(.+)"$', script, re.MULTILINE)
    found = {*listed.split(), "newest"}
    assert found <= set(re.findall(r"^(\w+)\(\) \{", script, re.MULTILINE))
    return found


def test_one_version_everywhere() -> None:
    version, date, notes = released(CHANGELOG)[0]
    citation = (ROOT / "CITATION.cff").read_text()
    assert version == probact.__version__
    assert re.findall(r"^version: (\S+)$", citation, re.MULTILINE) == [version]
    assert re.findall(r'^date-released: "(\S+)"$', citation, re.MULTILINE) == [date]
    assert notes


def test_the_changelog_keeps_its_form() -> None:
    headings = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert [
        heading for heading in headings[1:] if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading)
    ] == []
    versions = [version for version, _, _ in released(CHANGELOG)]
    home = "https://github.com/probact/probact/"
    compared = [f"compare/v{old}...v{new}" for new, old in pairwise(versions)]
    links = [f"compare/v{versions[0]}...HEAD", *compared, f"releases/tag/v{versions[-1]}"]
    names = ["Unreleased", *versions]
    expected = [f"[{name}]: {home}{link}" for name, link in zip(names, links, strict=True)]
    assert CHANGELOG.splitlines()[-len(expected) :] == expected
    kinds = set(re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_notes_are_those_of_the_newest_version() -> None:
    sections = ["# C", "## [Unreleased]", "- z", "## [1.1.0] - 2026-01-02", "- b", "## [1.0.0] - 2026-01-01", "- a"]
    text = "\n\n".join([*sections, "[1.0.0]: x\n"])
    assert released(text) == [("1.1.0", "2026-01-02", "- b"), ("1.0.0", "2026-01-01", "- a")]


def test_the_page_of_the_shipped_weights_is_current(tmp_path: Path) -> None:
    script(ROOT, ROOT / "docs" / "make_models.py", str(tmp_path)).output()
    page = (tmp_path / "models.md").read_text()
    assert page == (ROOT / "docs" / "models.md").read_text(), "run: python docs/make_models.py"
    for path in (ROOT / "probact" / "weights").glob("*.pt"):
        assert f"\n## {path.stem}\n" in page
        assert f" {path.stat().st_size:,} " in page


@pytest.mark.parametrize("part", ["## Limits", "## Licence", "weights of the rule"])
def test_a_card_that_lacks_a_part_is_told(part: str) -> None:
    text = (ROOT / "probact" / "weights" / "general.md").read_text()
    assert Card.of(text).minutes == 18.3
    with pytest.raises(ValueError, match="not a card"):
        Card.of(text.replace(part, "## Other"))


@pytest.mark.parametrize("path", [*WORKFLOWS, *FORMS], ids=lambda path: path.name)
def test_forms_and_workflows_are_yaml(path: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    found = yaml.safe_load(path.read_text())
    wanted = {"name", "jobs"} if path in WORKFLOWS else {"blank_issues_enabled"} if path.stem == "config" else {"body"}
    assert wanted <= found.keys()


def values(tree: Any, key: str) -> list[Any]:
    """Of ``key``, at any depth."""
    if isinstance(tree, list):
        return [value for item in tree for value in values(item, key)]
    if not isinstance(tree, dict):
        return []
    return [*([tree[key]] if key in tree else []), *(found for item in tree.values() for found in values(item, key))]


def test_workflows_call_steps_that_are_there() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    called = set()
    for path in WORKFLOWS:
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            choices = values(job.get("strategy", {}), "step")
            for command in values(job.get("steps", []), "run"):
                for name in re.findall(r"bash \.ci/run (.+)", command):
                    called.update(choices[0] if name == "${{ matrix.step }}" else [name])
                for path in re.findall(r"python3? (\S+\.py)", command):
                    assert (ROOT / path).exists(), path
    assert called == steps_of_run() - {"arviz"}  # which `newest` runs with all else


def test_workflows_try_every_python_that_is_promised() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    promised = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert jobs["newest"]["strategy"]["matrix"]["python"] == promised
    assert [entry["python"] for entry in jobs["wheel"]["strategy"]["matrix"]["include"]] == promised


def test_a_step_that_is_not_there_is_refused() -> None:
    done = subprocess.run(["bash", RUN, "rubbish"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "got rubbish" in done.stderr
    assert all(step in done.stderr for step in steps_of_run())


def test_the_script_is_shell_without_faults() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    subprocess.run(["shellcheck", RUN], check=True)


def test_what_a_wheel_lacks_or_has_too_much_is_told() -> None:
    names = contents["expected"]() | {"probact-0.1.0.dist-info/METADATA"}
    assert {"probact/py.typed", "probact/weights/general.pt", "probact/weights/general.md"} <= names
    assert contents["faults_of_wheel"](names, 10) == []
    assert contents["faults_of_wheel"](names - {"probact/py.typed"}, 10) == ["not in the wheel: probact/py.typed"]
    assert "tests/a.py" in contents["faults_of_wheel"](names | {"tests/a.py"}, 10)[0]
    assert contents["faults_of_wheel"](names, 2_000_001) == [
        "the wheel has 2,000,001 bytes, expected at most 2,000,000"
    ]
