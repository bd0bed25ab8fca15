"""How long a newcomer waits, in fresh virtual environments: writes ``benchmarks/results/newcomer.json``.

    python benchmarks/newcomer.py wheel     # from pip install of the wheel to a training loop that was stopped
    python benchmarks/newcomer.py readme    # from the README's first command to its report, open in a browser
    python benchmarks/newcomer.py table     # the table of docs/benchmarks.md, which the two write as well

``wheel`` builds the wheel first, untimed; ``readme`` clones this repository as it was committed, untimed.  The browser
is chromium or Chrome without a window; it has to draw the report's figures.  ``PYTHON`` names the interpreter.

The file has the seconds of each step, those that processors worked for it (``cpu``), the cores, and how many processes
wanted one before and after: on a busy machine ``cpu`` is nearer to what a quiet one takes.  pip gets torch from
wherever this machine has it; a slow network adds to it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pages import fill, table

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
ASKED = {"readme": 360, "wheel": 120}
"""Seconds within which a newcomer is to be there."""
NAMES = {
    "readme": "from the README's first line to the report of a run, open in a browser",
    "wheel": "from `pip install` of the wheel to a training loop that was stopped",
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
RESULT = ROOT / "benchmarks" / "results" / "newcomer.json"
PYTHON = os.environ.get("PYTHON", sys.executable)
LOOP = """
import torch, probact

torch.manual_seed(0)
X = torch.randn(600, 20)
y = (X @ torch.randn(20) + torch.randn(600) > 0).float()
model = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
loss = torch.nn.functional.binary_cross_entropy_with_logits
optimizer = torch.optim.Adam(model.parameters(), 1e-2)
monitor = probact.HaltingMonitor(price=1e-3)  # one more epoch must be worth .001 nats
for epoch in range(1000):
    for rows in torch.randperm(400).split(32):
        optimizer.zero_grad()
        loss(model(X[rows]).squeeze(-1), y[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        monitor.update(float(loss(model(X[400:]).squeeze(-1), y[400:])))
    if monitor.should_stop():
        break
print(f"stopped after epoch {epoch}")
"""


HEADLESS = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom")


class Watch:
    """Runs commands one after the other, and keeps the seconds of each, by the clock and of processors."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seconds, self.cpu = folder, dict[str, float](), dict[str, float]()
        self.environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def call(self, name: str, *command: str | Path) -> str:
        begun, before = time.perf_counter(), os.times()
        options: dict[str, Any] = {"cwd": self.folder, "env": self.environment, "capture_output": True, "text": True}
        done = subprocess.run(command, check=False, **options)
        after = os.times()
        self.seconds[name] = round(time.perf_counter() - begun, 1)
        self.cpu[name] = round(sum(after[2:4]) - sum(before[2:4]), 1)
        if done.returncode:
            raise SystemExit(f"{name}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        print(f"{name}: {self.seconds[name]} s, {self.cpu[name]} s of processors", flush=True)
        return done.stdout


def wheel(folder: Path) -> dict[str, Any]:
    """From ``pip install`` to a loop that was stopped."""
    subprocess.run([PYTHON, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT], check=True)
    (built,) = folder.glob("*.whl")
    subprocess.run([PYTHON, "-m", "venv", folder / "venv"], check=True)
    watch, python = Watch(folder), folder / "venv" / "bin" / "python"
    watch.call("pip install", python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", built)
    said = watch.call("training loop", python, "-c", LOOP)
    stopped = re.search(r"stopped after epoch (\d+)", said)
    assert stopped is not None, said
    assert int(stopped[1]) < 999, said
    return {"seconds": watch.seconds, "cpu": watch.cpu, "epochs": int(stopped[1]) + 1}


def readme(folder: Path) -> dict[str, Any]:
    """The README's first command, part by part, then the report, and the browser that shows it."""
    browser = next((place for name in BROWSERS if (place := shutil.which(name))), None)
    assert browser is not None, f"no browser: expected one of {', '.join(BROWSERS)}"
    subprocess.run(["git", "clone", "-q", ROOT, folder / "clone"], check=True)
    watch, python = Watch(folder / "clone"), Path(".venv") / "bin" / "python"
    line = re.search(r"^python3 -m venv .*cli\.py fit.*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert line is not None, "README.md: no command that sets up and fits"
    for command in line[0].split(" && "):
        words = command.replace("'", "").replace("python3", PYTHON, 1).split()
        watch.call(next(name for name in ("fit", "pip", "venv") if name in words), *words)
    figures = sorted(path.name for path in (folder / "clone" / "runs").rglob("*.png"))
    assert figures, "fit drew no figures"
    watch.call("report", python, "cli.py", "report")
    (page,) = (folder / "clone" / "runs").rglob("report.html")
    shown = watch.call("browser", browser, *HEADLESS, page.as_uri())
    assert "<svg" in shown.partition('data-figure="problem"')[2].partition("</figure>")[0], "the report drew nothing"
    return {"seconds": watch.seconds, "cpu": watch.cpu, "figures": figures}


def page() -> str:
    """What was measured, as a table."""
    results = json.loads(RESULT.read_text())
    rows = []
    for way, name in NAMES.items():
        if way not in results:
            continue
        found = results[way]
        steps = ", ".join(f"`{step}` {seconds:.0f}" for step, seconds in found["seconds"].items() if step != "total")
        seconds, cpu = (f"{found[kind]['total']:.0f} s" for kind in ("seconds", "cpu"))
        rows.append(
            [name, f"{ASKED[way]} s", seconds, steps, cpu, f"{found['cores']}, {' to '.join(map(str, found['load']))}"]
        )
    head = ["path", "asked: under", "by the clock", "of which", "of processors", "cores, and processes that wanted one"]
    return table(head, rows)


def main(names: list[str]) -> None:
    ways = {"wheel": wheel, "readme": readme}
    if not names or set(names) - {*ways, "table"}:
        raise SystemExit(f"expected some of {', '.join(ways)} and table, got {' '.join(names) or 'none'}")
    for name in (name for name in names if name != "table"):
        load = os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as folder:
            found = ways[name](Path(folder))
        for kind in ("seconds", "cpu"):
            found[kind]["total"] = round(sum(found[kind].values()), 1)
        found.update(cores=os.cpu_count(), load=[round(load, 1), round(os.getloadavg()[0], 1)])
        results = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        RESULT.write_text(json.dumps({**results, name: found}, indent=1) + "\n")
        print(f"{name}: {found['seconds']['total']} s, {found['cpu']['total']} s of processors")
    fill(PAGE, {"newcomer": page()})


if __name__ == "__main__":
    main(sys.argv[1:])
