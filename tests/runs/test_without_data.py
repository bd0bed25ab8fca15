"""A run is exported, drawn and worn where neither its data, nor the network, nor the trainer is to be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from probact.problems.data.sets import VARIABLE
from probact.runs.run import Run
from probact.training.loop import train
from tests.helpers.preloaded import python
from tests.helpers.trainings import tiny

ROOT = Path(__file__).parents[2]
BLOCKED = """
import socket, sys

def refuse(*arguments):
    raise AssertionError("the network was asked")

socket.socket.connect = socket.getaddrinfo = refuse
sys.modules["probact.training"] = None
"""


def alone(folder: Path, code: str) -> str:
    """What ``code`` prints in a process that has no data folder, no network and no ``probact.training``."""
    empty = folder / "empty"
    empty.mkdir(exist_ok=True)
    return python(folder, BLOCKED + code, **{VARIABLE: str(empty)}).output()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a run on images in it."""
    folder = tmp_path_factory.mktemp("mnist")
    settings = {"rule": "nag", "rule_options": {"lr": 0.1}, "family_options": {"hidden": [2]}, "meta_steps": 1}
    run = Run.create(folder / "run", tiny(family="mnist", **settings), [0])
    train(run.chains[0], lambda record: None, lambda: False)
    return folder


def test_export(folder: Path) -> None:
    command = "sys.argv = ['cli.py', 'export', 'run', '--out', 'nag.pt']; from probact.cli.main import main; main()"
    assert "rule nag" in alone(folder, command)
    assert (folder / "nag.pt").exists()


def test_export_of_a_mixture(tmp_path: Path) -> None:
    members = {"members": ["mnist", "quadratic"]}
    run = Run.create(tmp_path / "run", tiny(family="general", family_options=members, meta_steps=0), [0])
    train(run.chains[0], lambda record: None, lambda: False)
    code = (
        "from pathlib import Path; from probact import Run; print(Run.open(Path('run')).chains[0].trained().describe())"
    )
    assert "rule lstm" in alone(tmp_path, code)


def test_wear(folder: Path) -> None:
    test_export(folder)
    code = """
import torch
from probact import LearnedOptimizer
weight = torch.nn.Parameter(torch.ones(3))
optimizer = LearnedOptimizer.from_pretrained([weight], "nag.pt")
weight.square().sum().backward()
optimizer.step(loss=weight.square().sum())
print(float(weight[0]) < 1)
"""
    assert alone(folder, code) == "True\n"


def test_settings_become_parts(folder: Path) -> None:
    code = """
from probact import Experiment
from probact.runs.assembly import check_trainable, family_judged
experiment = Experiment.create(family="cifar10")
check_trainable(experiment)
print(family_judged(experiment).family)
"""
    assert alone(folder, code) == "cifar10\n"
