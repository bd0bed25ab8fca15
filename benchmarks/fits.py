"""What ``fit`` reaches with its defaults: held-out losses, gaps and halting, mean over training seeds.

    python benchmarks/fits.py regression mixed        # or any other of FITS

Each name runs ``python cli.py fit`` with the arguments below and writes ``benchmarks/results/<name>.json``: the
command, the run's summary, losses and gaps by seed, and E[t] over training for every seed.  A run that is already
there is resumed.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import torch

from probact.judging.problem_sets import reported_steps
from probact.reports import posterior_file
from probact.runs.run import Run
from probact.support.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
FITS = {
    **{f"main-{seed}": f"--prior-nu 0.95 --seed {seed}" for seed in range(3)},
    "regression": "--family regression --prior-nu 0.95 --chains 3",
    "mixed": "--family mixed --chains 3",
    "mixed-stick-breaking": "--family mixed --halting stick-breaking --chains 3",
    "diabetes": "--family diabetes --chains 3",
    "digits": "--family digits",
    "graves": "--family regression --halting graves --chains 3",
    "softmax": "--family regression --halting softmax",
    "l2l-regression": "--family regression --halting none --meta-steps 3000 --lr 0.02 --validate-every 100 --chains 3",
    "l2l-quadratic": "--halting none --family quadratic --meta-steps 2000 --lr 0.01 --validate-every 100 --chains 3",
}


def fit(name: str) -> None:
    folder = ROOT / "runs" / f"benchmark-{name}"
    arguments = [*shlex.split(FITS[name]), "--out", str(folder)]
    if (folder / "experiment.json").exists():
        arguments = ["--resume", str(folder)]
    subprocess.run([sys.executable, str(ROOT / "cli.py"), "fit", *arguments], cwd=ROOT, check=True)
    run = Run.open(folder)
    halting = {
        label: {record["step"]: record["mean_halting"] for record in records[:20] + records[20::20]}
        for label, records in run.records().items()
    }
    data = posterior_file.tables(posterior_file.load(run.posterior))
    by_seed = {
        "loss_at": {
            str(step): data.loss_path.sel(step=step).mean("optimizee").values.tolist()
            for step in reported_steps(run.experiment.horizon)
        },
        "amortisation_gap": data.amortisation_gap.mean("optimizee").values.tolist(),
    }
    seconds = {label: sum(record["seconds"] for record in records) for label, records in run.records().items()}
    result = {
        "command": f"python cli.py fit {FITS[name]}",
        "threads": torch.get_num_threads(),
        "training_seconds": seconds,
        "by_seed": by_seed,
        "summary": json.loads(run.summary.read_text()),
        "mean_halting": halting,
    }
    RESULTS.mkdir(exist_ok=True)
    write_atomically(RESULTS / f"{name}.json", json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    chosen = sys.argv[1:]
    if not chosen or any(name not in FITS for name in chosen):
        sys.exit(f"Error: expected one or more of: {', '.join(FITS)}")
    for one in chosen:
        fit(one)
