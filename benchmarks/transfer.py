"""Learned optimizers beyond what they were trained on: writes ``benchmarks/results/transfer.json``.

    python benchmarks/transfer.py

After ``python benchmarks/fits.py l2l-quadratic digits``: five times the training horizon, other dimensions and scales;
more units, two layers, ReLU.  NAG, tuned for each step on each of these problems, stands beside them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from probact.support.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).resolve().parent / "results" / "transfer.json"
QUADRATIC = "20,100,200,500"
DIGITS = "10,20,50,100"
CASES = {
    "quadratic": ("benchmark-l2l-quadratic", "quadratic", [], QUADRATIC),
    "quadratic, 5-d": ("benchmark-l2l-quadratic", "quadratic", ["dim=5"], QUADRATIC),
    "quadratic, 20-d": ("benchmark-l2l-quadratic", "quadratic", ["dim=20"], QUADRATIC),
    "quadratic, W / 2": ("benchmark-l2l-quadratic", "quadratic", ["scale=0.5"], QUADRATIC),
    "quadratic, 2 W": ("benchmark-l2l-quadratic", "quadratic", ["scale=2"], QUADRATIC),
    "digits, 20 units": ("benchmark-digits", "digits", [], DIGITS),
    "digits, 40 units": ("benchmark-digits", "digits", ["hidden=40"], DIGITS),
    "digits, 20-20 units": ("benchmark-digits", "digits", ["hidden=20,20"], DIGITS),
    "digits, ReLU": ("benchmark-digits", "digits", ["activation=relu"], DIGITS),
}


def judge(name: str) -> None:
    run, family, options, at = CASES[name]
    out = ROOT / "runs" / f"transfer-{name.replace(' ', '').replace(',', '-').replace('/', '')}"
    arguments = ["evaluate", str(ROOT / "runs" / run), "--family", family, "--baselines", "nag", "--at", at]
    for option in options:
        arguments += ["--family-option", option]
    subprocess.run([sys.executable, str(ROOT / "cli.py"), *arguments, "--out", str(out)], cwd=ROOT, check=True)
    result = json.loads((out / "evaluation.json").read_text())
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    kept = ("family", "family_options", "horizon", "num_optimizees", "start_loss", "optimum", "losses")
    known[name] = {key: result[key] for key in (*kept, "against_baselines")}
    RESULT.parent.mkdir(exist_ok=True)
    write_atomically(RESULT, json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    for case in CASES:
        judge(case)
