"""The thesis' four learners side by side on equal budgets: writes ``benchmarks/results/thesis.json``.

    python benchmarks/thesis.py            # every learner, nu, horizon and estimator (about 40 minutes on one core)
    python benchmarks/thesis.py softmax    # one learner, the others' rows stay

Each row is one ``python cli.py fit`` on ``regression`` with the LSTM: 300 meta-steps of 64 problems, seed 0.  Graves'
ACT has no nu: it takes a ponder cost tau instead.  ``sample`` draws T ~ p(T) for each problem as the thesis does,
``collapse`` sums over T.  A row that is there already is kept.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from probact.runs.run import Run
from probact.support.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).resolve().parent / "results" / "thesis.json"
BUDGET = "--family regression --meta-steps 300 --batch 64 --validate-every 50"
NUS = (0.5, 0.7, 0.9, 0.95)
HORIZONS = (50, 100)


def rows(learner: str) -> dict[str, str]:
    """Name -> arguments of ``fit``."""
    found = {}
    for horizon in HORIZONS:
        start = f"{BUDGET} --horizon {horizon}"
        if learner == "l2l":
            found[f"l2l-H{horizon}"] = f"{start} --halting none"
        elif learner == "graves":
            for tau in (0.25, 0.5, 1.0):
                found[f"graves-tau{tau:g}-H{horizon}"] = f"{start} --halting graves --ponder-cost {tau}"
        else:
            for nu in NUS:
                for estimator in ("collapse", "sample"):
                    name = f"{learner}-nu{nu:g}-H{horizon}-{estimator}"
                    found[name] = f"{start} --halting {learner} --prior-nu {nu} --estimator {estimator}"
    return found


LEARNERS = ("l2l", "graves", "softmax", "stick-breaking")


def fit(name: str, arguments: str) -> None:
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if name in known:
        return
    folder = ROOT / "runs" / f"thesis-{name}"
    given = [*arguments.split(), "--out", str(folder)]
    if (folder / "experiment.json").exists():
        given = ["--resume", str(folder)]
    subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "fit", *given], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    run = Run.open(folder)
    seconds = sum(record["seconds"] for records in run.records().values() for record in records)
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    known[name] = {
        "command": f"python cli.py fit {arguments}",
        "training_seconds": seconds,
        "summary": json.loads(run.summary.read_text()),
    }
    RESULT.parent.mkdir(exist_ok=True)
    write_atomically(RESULT, json.dumps(known, indent=1, sort_keys=True) + "\n")
    print(name, {step: round(loss, 3) for step, loss in known[name]["summary"]["loss_at"].items()}, flush=True)


if __name__ == "__main__":
    chosen = sys.argv[1:] or LEARNERS
    if any(name not in LEARNERS for name in chosen):
        sys.exit(f"Error: expected learners among: {', '.join(LEARNERS)}")
    for learner in chosen:
        for name, arguments in rows(learner).items():
            fit(name, arguments)
