"""Names of parts: the package's own, those of installed plug-ins, and what is said when one fails."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from probact.support import plugins
from probact.support.plugins import import_plugins, imported_plugins
from probact.support.registry import Registry, UnknownPartError

CIRCLE = "class Circle:\n    'A round one.'\n"
Install = Callable[..., Registry]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """A registry beside an installed project with these entry points and this module, ``shapes``."""

    def make(points: str, module: str) -> Registry:
        folder = tmp_path / "shapes-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: shapes\nVersion: 1\n")
        (folder / "entry_points.txt").write_text(f"[tests.shapes]\n{points}\n")
        (tmp_path / "shapes.py").write_text(module)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "shapes", raising=False)
        registry = Registry("shape", object, "tests.shapes")
        monkeypatch.setattr("tests.support.test_registry.SHAPES", registry, raising=False)

        @registry.register("point")
        class Point:
            """The smallest."""

        return registry

    return make


SHAPES: Registry
REGISTERING = f"from tests.support import test_registry\n\n@test_registry.SHAPES.register('circle')\n{CIRCLE}"


@pytest.mark.parametrize("named", ["shapes:Circle", "shapes"])
def test_a_plugin_is_its_class_or_the_module_that_registers_it(named: str, install: Install) -> None:
    registry = install(f"circle = {named}", CIRCLE if ":" in named else REGISTERING)
    assert registry["circle"].name == "circle"
    assert list(registry) == ["point", "circle"]
    assert registry.describe("circle") == "A round one."


def test_plugins_are_loaded_when_they_are_asked_for(install: Install) -> None:
    registry = install("circle = shapes:Circle", CIRCLE)
    assert registry["point"].name == "point"
    assert "point" in registry
    assert "shapes" not in sys.modules
    assert "circle" in registry
    assert "shapes" in sys.modules


@pytest.mark.parametrize(
    ("point", "module", "reason"),
    [
        ("circle = shapes:Circle", "import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("circle = shapes:Square", CIRCLE, "AttributeError: module 'shapes' has no attribute 'Square'"),
        ("circle = shapes", CIRCLE, "ValueError: expected the module to register a shape of that name"),
        ("disc = shapes:Circle", REGISTERING, "ValueError: shape 'disc': its class is already registered as 'circle'"),
    ],
)
def test_a_plugin_that_fails_is_one_warning(
    point: str, module: str, reason: str, install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    registry, name = install(point, module), point.partition(" ")[0]
    with caplog.at_level(logging.WARNING):
        assert "point" in list(registry)
        with pytest.raises(UnknownPartError) as found:
            registry[name]
    failed = f"plug-in {point} failed: {reason}"
    assert [record.getMessage() for record in caplog.records] == [f"shape {failed}"]
    assert f"unknown shape '{name}': choose from point" in str(found.value)
    assert str(found.value).endswith(f" ({failed})")


def test_a_name_is_taken_once(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    registry = install("point = shapes:Circle", CIRCLE)
    taken = "shape 'point': expected one class of that name, got those of tests.support.test_registry and elsewhere"
    with pytest.raises(ValueError, match=taken):
        registry.register("point")(type("Other", (), {"__module__": "elsewhere"}))
    with caplog.at_level(logging.WARNING):
        assert list(registry) == ["point"]
    assert "got those of tests.support.test_registry and shapes" in caplog.text
    assert registry["point"].__module__ == __name__


def test_what_is_registered_temporarily_is_gone_afterwards(install: Install) -> None:
    registry = install("circle = shapes:Circle", CIRCLE)
    with registry.temporarily():
        registry.register("line")(type("Line", (), {}))
        assert "line" in registry
    assert list(registry) == ["point", "circle"]


def test_an_imported_module_is_remembered_for_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_imported", {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_module_here.py").write_text("")
    (tmp_path / "json.py").write_text("")
    import_plugins(["a_module_here", "a_module_here.py"])
    assert imported_plugins() == ["a_module_here", str(tmp_path / "a_module_here.py")]
    for module, reason in (
        ("nowhere.py", "no such file"),
        ("nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("json.py", "another module has the name 'json'"),
    ):
        with pytest.raises(ValueError, match=f"import {module}: {reason}"):
            import_plugins([module])
