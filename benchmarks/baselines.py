"""Tuned baselines, the limit and the L2L optimizers: writes ``benchmarks/results/evaluation-<family>.json``.

    python benchmarks/baselines.py                # or any of: quadratic regression student-t

10,000 held-out problems, as the prior system's tables have; learning rates tuned for each step by itself.  The runs of
``python benchmarks/fits.py l2l-quadratic l2l-regression`` are judged beside them where they are there.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from probact.support.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
FAMILIES = ("quadratic", "regression", "student-t")


def judge(family: str) -> None:
    run, out = ROOT / "runs" / f"benchmark-l2l-{family}", ROOT / "runs" / f"evaluation-{family}"
    given = [str(run)] if (run / "experiment.json").exists() else []
    arguments = [*given, "--family", family, "--num-optimizees", "10000", "--at", "1,5,10,20,50,100,200"]
    subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "evaluate", *arguments, "--out", str(out)], cwd=ROOT, check=True
    )
    RESULTS.mkdir(exist_ok=True)
    write_atomically(RESULTS / f"evaluation-{family}.json", (out / "evaluation.json").read_text())


if __name__ == "__main__":
    chosen = sys.argv[1:] or [name for name in FAMILIES if not FAMILIES[name].has_unit]
    if any(name not in FAMILIES for name in chosen):
        sys.exit(f"Error: expected one or more of: {', '.join(FAMILIES)}")
    for one in chosen:
        judge(one)
