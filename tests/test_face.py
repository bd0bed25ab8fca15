"""The public names: lazy, typed, and enough for what the README does."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import probact
from tests.helpers.preloaded import script

ROOT = Path(__file__).parent.parent
STRANGER = """
from dataclasses import dataclass

import torch
from torch import Tensor

from probact import (
    FAMILIES, RULES, STOP_RULES, Known, LearnedOptimizer, Optimizee, OptimizeeFamily, Params, State, Step, StopRule,
    UpdateRule, unroll,
)
from tests.helpers.preloaded import script


@dataclass(frozen=True)
class Bowls(Optimizee):
    centre: Tensor

    def nll(self, params: Params) -> Tensor:
        return (params["theta"] - self.centre).square().sum(1)


@FAMILIES.register("bowls")
class BowlFamily(OptimizeeFamily):
    def sample(self, num: int, generator: torch.Generator) -> Bowls:
        return Bowls({"theta": torch.zeros(num, 2)}, torch.randn(num, 2, generator=generator))


@RULES.register("tenth")
class Tenth(UpdateRule):
    def init(self, params: Params) -> State:
        return ()

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        return Step({name: -0.1 * grad for name, grad in grads.items()}, state, loss.new_empty(len(loss), 0))


@STOP_RULES.register("small")
class Small(StopRule):
    def score(self, known: Known, memory: State) -> tuple[Tensor, State]:
        return -known.loss, memory


losses: Tensor = unroll(Tenth(), BowlFamily().sample(3, torch.Generator()), 5).nll
weight = torch.nn.Parameter(torch.ones(2))
optimizer = LearnedOptimizer([weight], Tenth(), stop=Small(threshold=-0.5))
while not optimizer.should_stop():
    optimizer.zero_grad()
    loss = weight.square().sum()
    loss.backward()
    optimizer.step(loss=loss)
print(losses.shape, float(loss) <= 0.5)
"""


def promised() -> dict[str, str]:
    """Name -> module, as the type checker reads them."""
    (block,) = [node for node in ast.parse(Path(probact.__file__).read_text()).body if isinstance(node, ast.If)][:1]
    found = {}
    for statement in block.body:
        assert isinstance(statement, ast.ImportFrom)
        assert statement.module
        for alias in statement.names:
            assert alias.asname == alias.name  # what makes a name public for a type checker
            module = f"{statement.module}.{alias.name}"
            found[alias.name] = module if find_module(module) else statement.module
    return found


def find_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def readme_program() -> str:
    (program,) = re.findall(r"```python\n(import pyro.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return str(program)


def test_what_is_typed_is_what_is_loaded() -> None:
    assert {name: f"probact.{home}" for name, home in probact._HOME.items()} == promised()
    assert sorted(probact._HOME) == list(probact._HOME)
    for name in probact.__all__:
        assert getattr(probact, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Optimiser'"):
        probact.Optimiser  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize("program", [readme_program(), STRANGER], ids=["readme", "stranger"])
def test_programs_are_typed_against_the_face_alone(program: str, tmp_path: Path) -> None:
    """In strict mode, and no name of the face is Any but ``State``, which is whatever a rule makes it."""
    pytest.importorskip("mypy")
    names = sorted({name for found in re.findall(r"from probact import \(?([^)]*?)(?:\)|\n\n)", program)
                    for name in re.findall(r"\w+", found)} - {"State"})  # fmt: skip
    assert names
    revealed = "\n".join(f"reveal_type({name})" for name in names)
    (tmp_path / "program.py").write_text(f"{program}\n{revealed}\n")
    (tmp_path / "mypy.ini").write_text(
        f"[mypy]\nstrict = true\nuntyped_calls_exclude = pyro, torch\n"
        f"mypy_path = {ROOT}\ncache_dir = {ROOT / '.mypy_cache'}\n"
        "[mypy-pyro.*]\nignore_missing_imports = true\n[mypy-probact.*]\nfollow_imports = silent\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "program.py"], cwd=tmp_path, capture_output=True, text=True
    )
    lines = [line for line in done.stdout.splitlines() if "Revealed type" not in line]
    assert [line for line in lines if "error" in line] == []
    kinds = [line for line in done.stdout.splitlines() if "Revealed type" in line]
    assert len(kinds) == len(names)
    assert [line for line in kinds if line.endswith('"Any"')] == []


def test_a_strangers_parts_work_by_the_face_alone(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(STRANGER)
    assert script(tmp_path, tmp_path / "program.py").output() == "torch.Size([6, 3]) True\n"
