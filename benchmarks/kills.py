"""What a kill or a full disk costs: a run is killed at random moments, and its disk is filled on the way.

    python benchmarks/kills.py --kills 100 --full-disks 20

A moment lies between the line that names the run and the end of its report.  After each kill, and after each full disk,
the run is continued with ``fit --resume``: weights, moments of the meta-optimizer and metrics have to be bitwise those
of a run that nothing happened to.  A limit on the size of files, drawn up to that of the largest, stands for the disk.
Prints the counts; the exit code is 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from probact.runs.run import Run

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"horizon": 6, "batch": 4, "meta-steps": 200, "validation-problems": 4, "test-problems": 8}
FIT = ["--family", "quadratic", *(word for name, size in SIZES.items() for word in (f"--{name}", str(size)))]


def fit(folder: Path, *arguments: str, limit: int | None = None) -> subprocess.Popen[str]:
    """``fit`` in ``folder``, with files of at most ``limit`` bytes."""

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), "fit", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limited,
    )


def until_named(process: subprocess.Popen[str]) -> None:
    """Wait for the line that names the run."""
    assert process.stdout is not None
    while not process.stdout.readline().startswith("run "):
        if process.poll() is not None:
            raise RuntimeError(process.communicate()[1])


def found(folder: Path) -> tuple[Any, list[dict[str, Any]]]:
    """All that training left in ``folder``, apart from how long it took."""
    (chain,) = Run.open(folder / "run").chains
    return chain.state(), [{**record, "seconds": 0} for record in chain.records()]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b) or (a != a and b != b)


def tried(disturb: Callable[[Path], str], expected: Any) -> list[str]:
    """What went wrong after ``disturb`` had happened to a run."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        wrong = [text] if (text := disturb(folder)) else []
        if not (folder / "run" / "checkpoint.pt").exists():
            wrong.append("no checkpoint")
        process = fit(folder, "--resume", "run")
        _, errors = process.communicate()
        if process.returncode:
            return [*wrong, f"resume: exit {process.returncode}, {errors.strip().splitlines()[-1]}"]
        return wrong if same(found(folder), expected) else [*wrong, "other weights"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("kills", 100), ("full-disks", 20), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    with TemporaryDirectory() as name:
        process = fit(Path(name), *FIT, "--out", "run")
        until_named(process)
        begun = time.monotonic()
        _, errors = process.communicate()
        seconds = time.monotonic() - begun
        if process.returncode:
            raise RuntimeError(errors)
        expected = found(Path(name))
        largest = max(path.stat().st_size for path in Path(name, "run").rglob("*") if path.is_file())

    def killed(folder: Path) -> str:
        process = fit(folder, *FIT, "--out", "run")
        until_named(process)
        time.sleep(draw.uniform(0, seconds))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return ""

    def full(folder: Path) -> str:
        until_named(process := fit(folder, *FIT, "--out", "run"))
        process.send_signal(signal.SIGINT)
        process.communicate()
        process = fit(folder, "--resume", "run", limit=draw.randrange(1, largest))
        lines = [line for line in process.communicate()[1].splitlines() if line.startswith("Error: ")]
        good = process.returncode == 0 or (process.returncode == 2 and len(lines) == 1)
        return "" if good else f"full disk: exit {process.returncode}, {lines}"

    failed = 0
    for what, disturb, num in (("kills", killed, given.kills), ("full disks", full, given.full_disks)):
        lost = 0
        for number in range(1, num + 1):
            if wrong := tried(disturb, expected):
                lost += 1
                print(f"{what}, {number}: {'; '.join(wrong)}", flush=True)
        print(f"{what}: {num}, bitwise the same afterwards: {num - lost}", flush=True)
        failed += lost
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
