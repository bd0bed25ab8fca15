"""The README's code and the examples, run as they stand."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import torch

from probact.problems.base import FAMILIES
from probact.rules.base import RULES

ROOT = Path(__file__).parent.parent


def test_own_optimizee(capsys: pytest.CaptureFixture[str]) -> None:
    with FAMILIES.temporarily():
        losses = runpy.run_path(str(ROOT / "examples" / "own_optimizee.py"))["main"](meta_steps=25)
    assert "halting step" in capsys.readouterr().out
    assert losses["horizon"] < 0.9 * losses["start"]


def test_own_computation(capsys: pytest.CaptureFixture[str]) -> None:
    path = ROOT / "examples" / "own_computation.py"
    assert len(path.read_text().splitlines()) < 80
    with FAMILIES.temporarily(), RULES.temporarily():
        accuracy, steps, signs = runpy.run_path(str(path))["main"](meta_steps=200)
    assert f"accuracy {accuracy:.1%}" in capsys.readouterr().out
    assert accuracy > 0.6
    assert 3 < signs < 4
    assert steps <= 8


def test_svi(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "svi.py"))["main"](meta_steps=25)
    bounds = re.findall(r"ELBO +(-?[\d.]+) <= log p\(x\) +(-?[\d.]+)", capsys.readouterr().out)
    assert len(bounds) == 4
    assert all(float(elbo) <= float(evidence) for elbo, evidence in bounds)
    assert float(bounds[-1][0]) > float(bounds[0][0])


def test_pyro_user(capsys: pytest.CaptureFixture[str]) -> None:
    path = ROOT / "examples" / "pyro_user.py"
    assert len(path.read_text().splitlines()) < 150
    found = runpy.run_path(str(path))["main"](meta_steps=10, num_draws=4000, num_samples=60)
    assert "{'T': [], 't': ['T'], 'x': ['t']}" in capsys.readouterr().out
    bounds = [found[name] for name in ("TraceEnum_ELBO", "Enumerate", "Collapse")]
    assert bounds == pytest.approx([bounds[0]] * 3, abs=1e-10)
    assert bounds[0] < found["log evidence"]
    assert [found["Trace_ELBO"], found["TraceGraph_ELBO"]] == pytest.approx([bounds[0]] * 2, abs=0.3)
    assert found["importance sampling"] == pytest.approx(found["log evidence"], abs=0.2)
    assert found["marginal error"] < 1e-10
    assert found["posterior predictive error"] < found["prior predictive error"]
    assert 0.3 < found["E[nu|x]"] < 1


def test_drop_in(capsys: pytest.CaptureFixture[str]) -> None:
    results = runpy.run_path(str(ROOT / "examples" / "drop_in.py"))["main"](meta_steps=30, num_networks=2)
    learned, shipped, adam, whole = results.values()
    assert all(5 < steps < 100 and accuracy > 0.7 for steps, _, accuracy in [*learned, *shipped])
    assert sum(loss for _, loss, _ in shipped) < sum(loss for _, loss, _ in adam)
    assert len({steps for steps, _, _ in adam}) == 1
    assert whole[0][0] == 100
    printed = capsys.readouterr().out
    assert all(label in printed for label in results)


def test_black_box(capsys: pytest.CaptureFixture[str]) -> None:
    path = ROOT / "examples" / "black_box.py"
    assert len(path.read_text().splitlines()) < 60
    optimizer = runpy.run_path(str(path))["main"](price=1e-2)
    assert optimizer.best.value < 0.06
    assert 4 <= optimizer.num_queries < 30
    assert str(optimizer.stop_reason) in capsys.readouterr().out


def readme_python() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_readme_python(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = [block for block in readme_python() if "SVI" in block]
    assert len([line for line in block.splitlines() if line.strip()]) < 20
    exec(compile(block, "README.md", "exec"), {})
    assert "log p(x)" in capsys.readouterr().out


def test_readme_loop(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = [block for block in readme_python() if "HaltingMonitor" in block]
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(400, 20, generator=generator)
    targets = inputs[:, :1] + torch.randn(400, 1, generator=generator)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)

    def train(model: torch.nn.Module) -> None:
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(inputs[:200]), targets[:200]).backward()
        optimizer.step()

    def validate(model: torch.nn.Module) -> float:
        losses.append(torch.nn.functional.mse_loss(model(inputs[200:]), targets[200:]).item())
        return losses[-1]

    losses: list[float] = []
    names = {"model": model, "train": train, "validate": validate}
    exec(compile(block, "README.md", "exec"), names)
    assert 10 < len(losses) < 1000
    model.load_state_dict(names["best"])
    assert validate(model) == min(losses) < losses[0] - 0.3
    assert str(len(losses) - 1) in capsys.readouterr().out


def test_readme_names_every_command() -> None:
    from probact.cli.commands import COMMANDS

    readme = (ROOT / "README.md").read_text()
    for name in COMMANDS:
        assert f"`{name}" in readme, name
    for path in re.findall(r"\]\(([\w./-]+)\)", readme):
        assert (ROOT / path).exists(), path
