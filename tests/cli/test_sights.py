"""Every command on parts of a user's own that see no gradient."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.commands import command, refused

PARTS = """
from dataclasses import dataclass

import torch
from torch import nn

from probact import FAMILIES, RULES, Optimizee, OptimizeeFamily, Step, UpdateRule
from probact.problems.black_box import BlackBox
from probact.support.sight import Sight


@dataclass(frozen=True)
class Bumps(BlackBox):
    centre: torch.Tensor
    noise: torch.Tensor

    def value(self, params):
        x = params["x"]
        return (x - self.centre).square().sum(1) + 0.1 * (0.3 - x[:, 0]).sqrt()

    def nll_of(self, value):
        return 20 * value

    def observe(self, value, step):
        return value + self.noise[:, step]


@FAMILIES.register("bumps")
class BumpsFamily(OptimizeeFamily):
    "Noisy bumps that are not known everywhere."

    shows = Bumps.shows

    def sample(self, num, generator):
        centre, noise = torch.randn(num, 2, generator=generator), torch.randn(num, 50, generator=generator)
        return Bumps({"x": torch.zeros(num, 2)}, centre, 0.1 * noise)


@RULES.register("searching")
class Searching(UpdateRule):
    "Asks where a network says."

    sees = Sight.VALUE
    num_features = 8

    def __init__(self):
        super().__init__()
        self.cell, self.read = nn.LSTMCell(3, 8), nn.Linear(8, 2)

    def init(self, params):
        return (params["x"].new_zeros(len(params["x"]), 8),) * 2

    def step(self, grads, state, params, loss):
        x = params["x"]
        hidden, cell = self.cell(torch.cat([x, loss.unsqueeze(-1)], -1), state)
        return Step({"x": self.read(hidden) - x}, (hidden, cell), hidden)


@dataclass(frozen=True)
class Signs(Optimizee):
    entries: torch.Tensor
    label: torch.Tensor
    shows = (Sight.INPUT,)

    def given(self):
        return {"entries": self.entries}

    def nll(self, params):
        return 10 * nn.functional.cross_entropy(params["answer"], self.label, reduction="none")


@FAMILIES.register("signs")
class SignsFamily(OptimizeeFamily):
    "Signs of sums."

    shows = Signs.shows

    def sample(self, num, generator):
        entries = torch.randn(num, 3, generator=generator)
        return Signs({"answer": torch.zeros(num, 2)}, entries, (entries.sum(1) > 0).long())


@RULES.register("thinking")
class Thinking(UpdateRule):
    "Thinks as long as it is asked to."

    sees = Sight.INPUT
    num_features = 6

    def __init__(self):
        super().__init__()
        self.read_in, self.cell, self.read = nn.Linear(3, 3), nn.GRUCell(3, 6), nn.Linear(6, 2)

    def init(self, params):
        num = len(params["answer"])
        return {"entries": torch.zeros(num, 3), "hidden": torch.zeros(num, 6)}

    def shown(self, state, given):
        return {**state, "entries": self.read_in(given["entries"])}

    def step(self, grads, state, params, loss):
        hidden = self.cell(state["entries"], state["hidden"])
        return Step({"answer": self.read(hidden) - params["answer"]}, {**state, "hidden": hidden}, hidden)
"""
SMALL = "--horizon 6 --meta-steps 4 --batch 8 --validation-problems 4 --test-problems 8"


@pytest.fixture
def parts(elsewhere: Path) -> Path:
    (elsewhere / "parts.py").write_text(PARTS)
    return elsewhere


@pytest.mark.parametrize(
    ("family", "rule", "option"),
    [("signs", "thinking", ""), pytest.param("bumps", "searching", "--recompute --truncate 2", marks=pytest.mark.slow)],
)
def test_a_run_from_training_to_its_file(family: str, rule: str, option: str, parts: Path) -> None:
    for line in (
        f"fit --family {family} --rule {rule} {SMALL} {option} --out run",
        "halt-stats run",
        "evaluate run --out judged",
        "export run --stop own --out one.pt",
    ):
        code, out, err = command(parts, f"--import parts.py {line}")
        assert code == 0, out + err
        assert "adam" not in out + err
    assert (parts / "one.pt").exists()
    wrong = command(parts, "--import parts.py export run --stop gradient --out two.pt")
    refused(wrong, "--stop: expected", "'gradient'")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--family bumps --rule searching --imitate adam", "imitate: expected a rule that sees its loss and gradient"),
        ("--family signs --rule thinking --compile", "compile: expected a rule that sees its loss and gradient"),
        ("--family signs --rule thinking --random-scaling 1", "random-scaling: expected a rule that sees"),
        ("--family signs --rule searching", "expected problems that show its loss alone, got Signs"),
        ("--family signs --rule adam", "expected problems that show its loss and gradient, got Signs"),
    ],
)
def test_what_does_not_fit_is_refused(line: str, expected: str, parts: Path) -> None:
    refused(command(parts, f"--import parts.py fit {line} {SMALL} --out run"), expected)
