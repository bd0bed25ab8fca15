"""What a learned stop is worth on families of mixed difficulty: writes ``benchmarks/results/stopping-<name>.json``.

    python benchmarks/stopping.py                # or any of: mixed logistic-mixed digits-mixed

Trains the runs below (three seeds each), then ``python cli.py evaluate`` judges them against every tuned baseline with
its own best tuned stop.  A run that is already there is resumed.

The price of a step is -log 0.95 nats on the regressions: a KL scale of 1/20 at nu = 0.95^20 charges it for a posterior
sharpened twentyfold, whose mass lies near the best step.  On ``digits-mixed`` it is 1 nat, nu = 1/e: x is 64 images,
and at a smaller price all networks would run to the end.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from probact.support.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
SHARP = "--halting stick-breaking --halting-first --kl-scale 0.05 --prior-nu 0.3584859224 --chains 3"
MILD = "--halting stick-breaking --halting-first --kl-scale 0.2 --prior-nu 0.7737809375 --chains 3"
DEAR = "--halting stick-breaking --halting-first --prior-nu 0.3678794412 --chains 3"
LONG = "--lr 0.01 --batch 256 --meta-steps 1200 --validate-every 50 --validation-problems 512"
NETS = "--lr 0.01 --batch 24 --meta-steps 150 --horizon 100 --validate-every 25 --validation-problems 48"
RUNS = {
    "mixed": {
        "lbfgs": f"--family mixed --rule lbfgs {SHARP} {LONG}",
        "lstm": f"--family mixed {MILD}",
    },
    "logistic-mixed": {
        "adam": f"--family logistic-mixed --rule adam --horizon 100 {SHARP} {LONG} --meta-steps 300",
    },
    "digits-mixed": {
        "nag": f"--family digits-mixed --rule nag {DEAR} {NETS}",
    },
}
EVALUATE = {
    "mixed": "--num-optimizees 4096",
    "logistic-mixed": "--num-optimizees 4096",
    "digits-mixed": "--num-optimizees 256 --baselines sgd,momentum,nag,rmsprop,adam,adamsign",
}


def cli(*arguments: str) -> None:
    subprocess.run([sys.executable, str(ROOT / "cli.py"), *arguments], cwd=ROOT, check=True)


def judge(name: str) -> None:
    folders = []
    for label, arguments in RUNS[name].items():
        folder = ROOT / "runs" / f"stopping-{name}-{label}"
        given = [*shlex.split(arguments), "--out", str(folder)]
        if (folder / "experiment.json").exists():
            given = ["--resume", str(folder)]
        cli("fit", *given)
        folders.append(str(folder))
    out = ROOT / "runs" / f"stopping-{name}"
    cli("evaluate", *folders, *shlex.split(EVALUATE[name]), "--out", str(out))
    RESULTS.mkdir(exist_ok=True)
    write_atomically(RESULTS / f"stopping-{name}.json", (out / "evaluation.json").read_text())


if __name__ == "__main__":
    chosen = sys.argv[1:] or list(RUNS)
    if any(name not in RUNS for name in chosen):
        sys.exit(f"Error: expected one or more of: {', '.join(RUNS)}")
    for one in chosen:
        judge(one)
