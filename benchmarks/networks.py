"""The thesis' learners on real networks, whole test set: writes ``results/{mnist,cifar10}*.json``.

    export PROBACT_DATA_DIR=...
    python benchmarks/networks.py                             # train what is missing, then judge, both
    python benchmarks/networks.py mnist train l2l             # or others of SEEDS
    python benchmarks/networks.py mnist judge

``mnist``: 784-20-10 sigmoid networks, three training seeds (``graves``: one), judged on 20 new ones to step 200 beside
tuned baselines.  ``cifar10``: small CNNs, L2L, one seed, beside Adam on 16 new ones.  The LSTM (2 x 20, steps times
0.1) is trained on 300 of them (150 CNNs), one a meta-step, for 50 steps each.  5 to 10 minutes a seed on one core; a
training that was interrupted goes on where it was.  ``thesis_mnist.py`` trains the same learners otherwise.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from probact.support.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs"
RESULTS = Path(__file__).resolve().parent / "results"
HALTING = {
    "l2l": ("--halting", "none"),
    "graves": ("--halting", "graves", "--horizon-first", "--ponder-cost", "4"),
    "stick-breaking": ("--halting", "stick-breaking"),
}
TRAINING = {"mnist": (), "cifar10": ("--meta-steps", "150")}
BASELINES = "sgd,momentum,nag,rmsprop,adam,lbfgs"
JUDGED = {"mnist": ("--num-optimizees", "20", "--at", "1,5,10,20,50,100,200", "--baselines", BASELINES)}
SEEDS = {
    "mnist": {"l2l": 3, "graves": 1, "stick-breaking": 3},
    "cifar10": {"l2l": 1},
}


def folder(family: str, learner: str) -> Path:
    return RUNS / f"benchmark-{family}-{learner}"


def cli(*arguments: str) -> None:
    subprocess.run([sys.executable, str(ROOT / "cli.py"), *arguments], cwd=ROOT, check=True)


def train(family: str, learner: str) -> None:
    out = folder(family, learner)
    if (out / "summary.json").exists():
        return
    if (out / "experiment.json").exists():
        cli("fit", "--resume", str(out))
    else:
        settings = ("--family", family, *TRAINING[family], "--chains", str(SEEDS[family][learner]))
        cli("fit", *settings, *HALTING[learner], "--out", str(out))


def judge(family: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    summaries = {
        learner: json.loads((folder(family, learner) / "summary.json").read_text()) for learner in SEEDS[family]
    }
    write_atomically(RESULTS / f"{family}-summaries.json", json.dumps(summaries, indent=1) + "\n")
    if family in JUDGED:
        out = RUNS / f"evaluation-{family}"
        folders = [str(folder(family, learner)) for learner in SEEDS[family]]
        cli("evaluate", *folders, *JUDGED[family], "--out", str(out))
        write_atomically(RESULTS / f"{family}.json", (out / "evaluation.json").read_text())


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            for name, learners in SEEDS.items():
                for each in learners:
                    train(name, each)
                judge(name)
        case [family, "train", *chosen] if family in SEEDS and set(chosen) <= set(SEEDS[family]):
            for each in chosen or SEEDS[family]:
                train(family, each)
        case [family, "judge"] if family in SEEDS:
            judge(family)
        case _:
            sys.exit(
                f"Error: expected nothing, or one of {', '.join(SEEDS)} and then judge, "
                f"or train with some of its learners: {', '.join(HALTING)}"
            )
