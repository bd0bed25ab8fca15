"""The thesis' learners on MNIST, on the whole test set: writes ``benchmarks/results/mnist.json``.

    PROBACT_DATA_DIR=... python benchmarks/mnist.py               # train what is missing, then judge
    PROBACT_DATA_DIR=... python benchmarks/mnist.py train l2l     # or: graves, stick-breaking; then: judge

784-20-10 sigmoid networks; the LSTM (2 x 20, steps times 0.1) is trained on 300 of them, one a meta-step, for 50 steps
each, from three seeds, and judged on 20 new ones to step 200 beside every tuned baseline.  About 10 minutes a seed on
one core; a training that was interrupted goes on where it was.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from probact.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs"
RESULT = Path(__file__).resolve().parent / "results" / "mnist.json"
COMMON = ("--family", "mnist", "--rule-option", "scale=0.1", "--chains", "3")
LEARNERS = {
    "l2l": ("--halting", "none"),
    "graves": ("--halting", "graves", "--horizon-first", "--ponder-cost", "4"),
    "stick-breaking": ("--halting", "stick-breaking"),
}


def folder(learner: str) -> Path:
    return RUNS / f"benchmark-mnist-{learner}"


def cli(*arguments: str) -> None:
    subprocess.run([sys.executable, str(ROOT / "cli.py"), *arguments], cwd=ROOT, check=True)


def train(learner: str) -> None:
    out = folder(learner)
    if (out / "summary.json").exists():
        return
    if (out / "experiment.json").exists():
        cli("fit", "--resume", str(out))
    else:
        cli("fit", *COMMON, *LEARNERS[learner], "--out", str(out))


def judge() -> None:
    out = RUNS / "evaluation-mnist"
    folders = [str(folder(learner)) for learner in LEARNERS]
    cli("evaluate", *folders, "--num-optimizees", "20", "--at", "1,5,10,20,50,100,200", "--out", str(out))
    RESULT.parent.mkdir(exist_ok=True)
    write_atomically(RESULT, (out / "evaluation.json").read_text())


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            for each in LEARNERS:
                train(each)
            judge()
        case ["train", *chosen] if set(chosen) <= set(LEARNERS):
            for each in chosen or LEARNERS:
                train(each)
        case ["judge"]:
            judge()
        case _:
            sys.exit(f"Error: expected nothing, judge, or train with some of: {', '.join(LEARNERS)}")
