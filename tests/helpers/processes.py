"""``fit`` as a process of its own, to be watched and killed."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import torch

from tests.helpers.preloaded import CLI, Begun, cli

__all__ = ["CLI", "FIT", "final_weights", "lines", "start", "wait_for"]

FIT = ["--family", "quadratic", "--horizon", "6", "--batch", "4", "--meta-steps", "300"]


def wait_for(condition: Any, process: subprocess.Popen[str] | Begun) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def final_weights(folder: Path) -> dict[str, Any]:
    weights: dict[str, Any] = torch.load(folder / "checkpoint.pt", weights_only=True)["weights"]
    return weights


def start(folder: Path, arguments: list[str], **environment: str) -> Begun:
    return cli(folder, "fit", *arguments, OMP_NUM_THREADS="1", **environment)
