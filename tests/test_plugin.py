"""``examples/plugin`` as a stranger installs and uses it: found by name, trained, judged, checked by its own tests."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.helpers.preloaded import cli, python

ROOT = Path(__file__).parent.parent
PLUGIN = ROOT / "examples" / "plugin"


def install(target: Path) -> None:
    """By pip; where its build backend is not at hand, the files that a wheel of it would be unpacked to."""
    if importlib.util.find_spec("hatchling"):
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target"]
        subprocess.run([*pip, str(target), str(PLUGIN)], check=True, timeout=120)
        return
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    folder = target / f"probact_plugin-{project['version']}.dist-info"
    folder.mkdir(parents=True)
    shutil.copy(PLUGIN / "probact_plugin.py", target)
    lines = ("\n".join((f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())))
             for group, entries in project["entry-points"].items())  # fmt: skip
    (folder / "entry_points.txt").write_text("\n".join(lines))
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    target = tmp_path_factory.mktemp("site")
    install(target)
    return {"PYTHONPATH": os.pathsep.join((str(target), str(ROOT)))}


FIT = """fit --family valleys --family-option dim=3 --rule heavy-ball --halting clock --estimator stratified
--objective discounted --objective-option gamma=0.5 --batch 8 --meta-steps 4 --validation-problems 8
--test-problems 20 --horizon 6 --horizon-prior two-lengths --halting-prior late --out run"""
EVALUATE = "evaluate run --baselines none --num-optimizees 20 --at 1,6"


def test_it_is_found_used_and_conforms(environment: dict[str, str], tmp_path: Path) -> None:
    """Listed, trained, judged, and checked by its own test, as far as one does not wait for another side by side."""
    test = shutil.copy(PLUGIN / "test_probact_plugin.py", tmp_path)
    listed, fitted = (cli(tmp_path, *line.split(), **environment) for line in ("list", FIT))
    code = "import pytest, sys; sys.exit(pytest.main(['-q', sys.argv[1]]))"
    checked = python(tmp_path, code, str(test), **environment)
    named = {line.split()[0] for line in listed.output().splitlines() if line.startswith("  ")}
    assert {"valleys", "heavy-ball", "clock", "discounted", "stratified", "slope", "two-lengths", "late"} <= named
    fitted.output()
    settings = json.loads((tmp_path / "run" / "experiment.json").read_text())
    assert settings["prior_nu"] == 0.9  # as the family recommends
    assert settings["objective_options"] == {"gamma": "0.5"}
    assert "slope >=" in cli(tmp_path, *EVALUATE.split(), **environment).output()
    assert "7 passed" in checked.output()
