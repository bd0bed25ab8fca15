"""The house rules that no linter knows: short functions and files, empty doorways, tests that stand by themselves."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST_FUNCTION, LONGEST_FILE = 60, 320
FILLS_A_REGISTRY = {
    "curves/data_sets",
    "inference/objectives",
    "inference/posteriors",
    "problems",
    "rule_search/controllers",
    "problems/style",
    "rules",
    "rules/expressions",
    "rules/subspace",
    "rules/tensorwise",
    "stopping",
    "training/loggers",
}
"""Folders whose ``__init__.py`` imports their own modules, so that each registers its parts."""
FURNISHED = {".", "testing", *FILLS_A_REGISTRY}
"""Folders whose ``__init__.py`` is not empty: the package and its checks have a face."""


def package_faults(package: Path) -> Iterator[str]:
    """What breaks the rules in the modules below ``package``, one line each."""
    homes: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for path in sorted(package.rglob("*.py")):
        name, tree = str(path.relative_to(package)), ast.parse(path.read_text())
        if (length := len(path.read_text().splitlines())) > LONGEST_FILE:
            yield f"{name}: {length} lines"
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if (length := node.end_lineno - node.lineno + 1) > LONGEST_FUNCTION:
                    yield f"{name}: {node.name} has {length} lines"
        if any(module.split(".")[0] == "pytest" for module in imports(tree)):
            yield f"{name}: imports pytest"
        folder = str(path.parent.relative_to(package))
        if path.name == "__init__.py" and folder not in FURNISHED and statements(tree):
            yield f"{name}: is not empty"
        for found in private_constants(tree):
            homes[found].append(name)
    for (constant, _), names in homes.items():
        if len(names) > 1:
            yield f"{constant}: the same in {', '.join(names)}"


def leaning_tests(tests: Path) -> Iterator[str]:
    """Modules below ``tests`` that import a test module."""
    for path in sorted(tests.rglob("*.py")):
        for module in imports(ast.parse(path.read_text())):
            if any(part.startswith("test_") for part in module.split(".")):
                yield f"{path.relative_to(tests)}: imports {module}"


def imports(tree: ast.Module) -> Iterator[str]:
    """Full names of all that is imported, anywhere in the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


def statements(tree: ast.Module) -> list[ast.stmt]:
    """All but the docstring."""
    return tree.body[1:] if ast.get_docstring(tree) is not None else tree.body


def private_constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Name and value of each ``_NAME = value`` of the module itself."""
    for node in tree.body:
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if isinstance(target, ast.Name) and target.id.startswith("_") and target.id.isupper():
                yield target.id, ast.dump(node.value)


def test_the_package_keeps_the_rules() -> None:
    assert list(package_faults(ROOT / "probact")) == []


def test_no_test_module_imports_another() -> None:
    assert list(leaning_tests(ROOT / "tests")) == []


BODY = "\n".join(["    pass"] * LONGEST_FUNCTION)
PLANTED = {
    "a long function": {"rules/a.py": f"def f():\n{BODY}\n"},
    "a long file": {"rules/a.py": "\n" * (LONGEST_FILE + 1)},
    "pytest": {"rules/a.py": "def f():\n    from pytest import raises\n"},
    "a crowded doorway": {"reports/__init__.py": "from probact.reports import text\n"},
    "a constant twice": {"rules/a.py": "_SMALL = 1e-30\n", "stopping/a.py": "_SMALL = 1e-30\n"},
}


@pytest.mark.parametrize("fault", list(PLANTED))
def test_a_fault_in_the_package_is_seen(fault: str, tmp_path: Path) -> None:
    for name, content in {"problems/__init__.py": "import probact\n", **PLANTED[fault]}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert len(list(package_faults(tmp_path))) == 1


@pytest.mark.parametrize(
    "line", ["from tests.rules.test_rules import x", "from tests.rules import test_rules", "from .test_rules import x"]
)
def test_a_test_that_leans_on_another_is_seen(line: str, tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(f"from tests.helpers.checks import problems\n{line}\n")
    assert len(list(leaning_tests(tmp_path))) == 1
