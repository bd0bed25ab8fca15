"""Does an installed probact work, by itself, outside of its source?

python -I .ci/smoke.py light    # torch and NumPy alone: the drop-in, the search, the monitor
python -I .ci/smoke.py whole    # with the extras fit and plots: the commands
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

import torch

import probact

SEARCHES = ("gp-",)
"""How names of shipped searches begin; all others are optimizers."""
FIT = "fit --family quadratic --horizon 6 --batch 4 --meta-steps 4 --validation-problems 4 --test-problems 6"
COMMANDS = [
    "list",
    "prior --prior-nu 0.9 --horizon 20",
    f"{FIT} --out run",
    "halt-stats run",
    "evaluate run --num-optimizees 8 --baselines adam",
    "plot run",
    "export run --out mine.pt",
]


def light(home: Path) -> None:
    """Every shipped optimizer makes a loss smaller, a search finds a minimum, the monitor ends a loop."""
    installed = Path(probact.__file__).parent
    assert installed.is_relative_to(sys.prefix), f"{installed} is not the installed one"
    assert (installed / "py.typed").exists()
    assert version("probact") == probact.__version__, (version("probact"), probact.__version__)
    names = sorted(path.stem for path in (installed / "weights").glob("*.pt"))
    assert names, "no weights are shipped"
    for name in names:
        assert (installed / "weights" / f"{name}.md").exists(), f"{name} has no card"
        (searched if name.startswith(SEARCHES) else optimized)(name)
    monitor = probact.HaltingMonitor(price=1e-3)
    looks = 0
    while not monitor.should_stop():
        monitor.update(0.5 + 0.5 * 0.8**looks)
        looks += 1
        assert looks < 200, "the monitor never stops"
    print(f"probact {probact.__version__}: {', '.join(names)} work; the monitor stopped after {looks} looks")


def optimized(name: str) -> None:
    """A linear regression with the shipped optimizer ``name``."""
    torch.manual_seed(0)
    X = torch.randn(64, 5)
    y = X @ torch.arange(1.0, 6) + 0.1 * torch.randn(64)
    model = torch.nn.Linear(5, 1)
    optimizer = probact.LearnedOptimizer.from_pretrained(model.parameters(), name)
    losses = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (model(X).squeeze(-1) - y).square().mean()
        loss.backward()
        losses.append(loss.item())
        return loss

    for _ in range(20):
        optimizer.step(closure)
    assert min(losses) < losses[0], f"{name}: {losses}"


def searched(name: str) -> None:
    """The minimum of a parabola of as many variables as the shipped search ``name``, ``gp-2d``, is for."""
    bounds = {f"x{axis}": (-1.0, 1.0) for axis in range(int(name.removesuffix("d").rpartition("-")[2]))}
    search = probact.BlackBoxOptimizer.from_pretrained(name, bounds, price=0.01)
    for _ in range(15):
        search.tell(sum((x - 0.3) ** 2 for x in search.ask().values()))
    assert search.best.value < 0.05 * len(bounds), search.best  # .09 of each at the centre, where it begins


def whole(home: Path) -> None:
    """Every command, in an empty folder; a warning that is not ArviZ' own is an error."""
    probact_ = Path(sys.executable).with_name("probact")
    commands = list(COMMANDS)
    if "report" in subprocess.run([probact_, "--help"], capture_output=True, text=True, check=True).stdout.split():
        commands.append("report run --out run.html")
    for command in commands:
        python = [sys.executable, "-I", "-W", "error", "-W", "ignore::FutureWarning:arviz", "-m", "probact"]
        done = subprocess.run([*python, *command.split()], cwd=home, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        print(f"probact {command}: fine")
    assert (home / "run" / "figures").is_dir()
    assert torch.load(home / "mine.pt", weights_only=True)


if __name__ == "__main__":
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        {"light": light, "whole": whole}[sys.argv[1]](Path(folder))
