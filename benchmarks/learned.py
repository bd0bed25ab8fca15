"""The optimizers that are shipped: trained, judged beside tuned baselines, exported with a card.

    export PROBACT_DATA_DIR=...
    python benchmarks/learned.py train subspace-mlp      # three seeds (lstm: one), then the halting of the best
    python benchmarks/learned.py judge mnist             # or others of PROBLEMS: results/learned-<problem>.json
    python benchmarks/learned.py export subspace-mlp     # probact/weights/<name>.pt and its card

``judge`` walks 500 steps on new problems, learned rules (three seeds) and baselines, each baseline at the rate that was
tuned for the step (``judging/tuned_rates.json``, else ``results/learned-rates.json``, tuned here; beyond the last step
tuned for, at that one's).  Networks are scored on the whole test set, other problems by their own loss.  What a file
holds already is not judged again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from probact.judging.problem_sets import held_out_problems
from probact.judging.tuning import TUNED_RATES, family_key, sweep
from probact.problems.base import Optimizee
from probact.rules.base import RULES, UpdateRule
from probact.rules.hand_designed import HandDesigned
from probact.runs.experiment import Experiment
from probact.runs.run import Run
from probact.support.files import write_atomically
from probact.unrolling.walk import Walk

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs"
RESULTS = Path(__file__).resolve().parent / "results"
WEIGHTS = ROOT / "probact" / "weights"
OUR_RATES = RESULTS / "learned-rates.json"
STEPS = (1, 5, 10, 20, 50, 100, 200, 500)

LEARN = "--halting none --objective log-loss --through-path --by-segment --truncate 20"
EXACT = "members=regression,quadratic,student-t"
ALL = "members=regression,quadratic,student-t,digits,mnist:held_out=false"
MLPS = "members=mnist:held_out=false,mnist:hidden=20/20:held_out=false"
EIGHT = "kinds=regression,classification,linear,autoencoder,images,text,factorisation,bags"
RULE = {
    "general": f"--family assorted --family-option {EIGHT} --rule tensorwise --rule-option hold=1 --halting none "
    "--objective final-loss --horizon 120 --horizon-from 20 --tell-horizon --through-path --meta-steps 600 --batch 8 "
    "--lr 4e-3 --validate-every 200 --validation-problems 8 --test-problems 8",
    "subspace-mlp": f"--family general --family-option {MLPS} --rule subspace --rule-option memory=0 --rule-option "
    f"start=adam {LEARN} --horizon 200 --curriculum 80 --batch 8 --lr 1e-3 --meta-steps 160 --validate-every 40 "
    "--validation-problems 8 --test-problems 8",
    "subspace-regression": f"--family general --family-option {EXACT} --rule subspace --rule-option first-share=10 "
    "--rule-option backtrack=0.9 --halting none --objective log-loss --gradient pes --pes-sigma 0.003 --truncate 0 "
    "--horizon 50 --batch 128 --lr 3e-4 --meta-steps 120 --validate-every 20 --validation-problems 512",
    "subspace-general": f"--family general --family-option {ALL} --rule subspace --rule-option memory=5 --rule-option "
    f"start=adam {LEARN} --horizon 100 --curriculum 80 --batch 8 --lr 1e-3 --meta-steps 200 --validate-every 40 "
    "--validation-problems 8 --test-problems 256",
    "lstm-regression": "--family regression",
    "lstm-mlp": "--family mnist --family-option held_out=false --meta-steps 150",
    "lstm-general": "--family general --family-option members=regression,quadratic,digits --halting none --objective "
    "log-loss --horizon 50 --batch 4 --lr 5e-3 --meta-steps 150 --validate-every 50 --validation-problems 16",
}
"""How the rule is trained; where it halts already, its halting too."""
SEEDS = {"lstm-regression": 1, "lstm-mlp": 1, "lstm-general": 1}
"""Where it is not three."""
WHOLE = {
    "general": f"--family assorted --family-option {EIGHT} --rule versatile --rule-option hold=4 --rule-option "
    "decay=0.4 --halting none --objective final-loss --horizon 200 --tell-horizon --meta-steps 0 --batch 8 "
    "--validation-problems 1 --test-problems 4",
}
"""The rule that the best seed is then a part of; these are judged by ``unseen.py``."""
HALTING = {
    "subspace-mlp": "--family mnist --family-option held_out=false --horizon 200 --batch 4 --meta-steps 200 --lr 1e-2 "
    "--validate-every 40 --validation-problems 16 --test-problems 16",
    "subspace-regression": "--family mixed --horizon 60 --batch 64 --meta-steps 300 --lr 5e-3",
    "subspace-general": "--family digits --halting stick-breaking --halting-first --horizon 100 --batch 16 "
    "--kl-scale 20 --meta-steps 80 --lr 1e-2",
    "lstm-general": "--family digits --halting stick-breaking --halting-first --horizon 50 --batch 8 "
    "--kl-scale 20 --meta-steps 60 --lr 1e-2",
}
"""How its halting is, for the seed that validated best."""
LIMITS = {
    "general": "for losses of minibatches, and for exact ones, which it tells apart: say total_steps, else nothing "
    "anneals. Trained on networks of up to 96 units a layer; wider matrices than 64 go without their singular values "
    "made equal. Exact gradients: 40 numbers a parameter; noisy ones: 5. Against learning by heart weights shrink "
    "as they are moved, by an amount chosen on the development tasks of benchmarks/unseen.py, not by training; exact "
    "gradients go without, to the minimum of what they are of. What it reaches on tasks that no training saw is in "
    "benchmarks/README.md.",
    "subspace-mlp": "trained on sigmoid networks 784-20-10 and 784-20-20-10 on MNIST, minibatches of 128; other data, "
    "widths, depths and activations are in the table of benchmarks/README.md. For minibatch gradients: on exact ones "
    "subspace-regression is far better. The losses above are of training images: meta-training saw no test image.",
    "subspace-regression": "for exact gradients: on minibatches a line search by backtracking goes astray. Its rule is "
    "as it starts: evolution strategies found nothing better in 120 meta-steps (three seeds); its halting is learned.",
    "subspace-general": "a compromise: subspace-regression is better on exact gradients, subspace-mlp on networks.",
    "lstm-regression": "coordinate-wise LSTM that sees the size of gradients: for regressions of this scale alone.",
    "lstm-mlp": "behind tuned NAG on MNIST, and not judged there beyond the 50 steps that it was trained for.",
    "lstm-general": "for comparison: behind the tuned baselines nearly everywhere.",
}

Problem = tuple[str, dict[str, str], int]
PROBLEMS: dict[str, Problem] = {
    "quadratic": ("quadratic", {}, 1024),
    "regression": ("regression", {}, 1024),
    "student-t": ("student-t", {}, 1024),
    "digits": ("digits", {}, 32),
    "mnist": ("mnist", {}, 16),
    "mnist-20-20": ("mnist", {"hidden": "20,20"}, 16),
    "fashion-mnist": ("fashion-mnist", {}, 16),
    "cifar10": ("cifar10", {}, 4),
    "breast-cancer": ("breast-cancer", {}, 256),
    "digits-autoencoder": ("digits-autoencoder", {}, 16),
    "digits-40-40-relu": ("digits", {"hidden": "40,40", "activation": "relu"}, 16),
}
"""Name -> family, its options, number of problems.  The last three, fashion-mnist and cifar10 are in no training."""
FEW = ("sgd", "momentum", "nag", "rmsprop", "adam")
"""Baselines where no rates are tuned yet: they are tuned here, for the steps of ``TUNED``."""
TUNED = (10, 20, 50, 100, 200)


def cli(*arguments: str) -> None:
    subprocess.run([sys.executable, str(ROOT / "cli.py"), *arguments], cwd=ROOT, check=True)


def fit(out: Path, settings: str) -> None:
    if (out / "summary.json").exists():
        return
    if (out / "experiment.json").exists():
        cli("fit", "--resume", str(out), "--jobs", "3")
    else:
        cli("fit", *settings.split(), "--jobs", "3", "--out", str(out))


def train(name: str) -> None:
    fit(RUNS / name, f"{RULE[name]} --chains {SEEDS.get(name, 3)}")
    if name in HALTING:
        fit(RUNS / f"{name}-halting", f"--begin-with runs/{name} --freeze-rule {HALTING[name]}")
    if name in WHOLE:
        fit(RUNS / f"{name}-whole", f"--begin-with runs/{name} {WHOLE[name]}")


def export(name: str) -> None:
    WEIGHTS.mkdir(exist_ok=True)
    last = "-halting" if name in HALTING else "-whole" if name in WHOLE else ""
    run = RUNS / f"{name}{last}"
    cli("export", str(run), "--out", str(WEIGHTS / f"{name}.pt"), "--card", "--limits", LIMITS[name])


def rates(experiment: Experiment) -> dict[str, dict[int, float]]:
    """Baseline -> step of ``STEPS`` -> tuned rate."""
    known: dict[str, dict[str, dict[str, float]]] = json.loads(TUNED_RATES.read_text())
    ours = json.loads(OUR_RATES.read_text()) if OUR_RATES.exists() else {}
    if (key := family_key(experiment)) not in known:
        if key not in ours:
            tuned_here = {name: sweep(name, experiment, TUNED) for name in FEW}
            ours[key] = {name: {str(step): rate for step, rate in of.items()} for name, of in tuned_here.items()}
            write_atomically(OUR_RATES, json.dumps(ours, indent=1, sort_keys=True) + "\n")
        known[key] = ours[key]
    found = {}
    for name, of_step in known[key].items():
        if experiment.family == "cifar10" and name not in FEW:
            continue  # convolutions take ten times as long
        if name in RULES and issubclass(RULES[name], HandDesigned):
            tuned = sorted(int(step) for step in of_step)
            nearest = {step: max([t for t in tuned if t <= step] or tuned[:1]) for step in STEPS}
            found[name] = {step: of_step[str(at)] for step, at in nearest.items()}
    return found


def walk(rule: UpdateRule, problems: Optimizee, steps: Sequence[int]) -> dict[int, tuple[Tensor, Tensor]]:
    """Loss and accuracy of every problem at ``steps``: on the test set where there is one."""
    found = {}
    with torch.no_grad():
        going = Walk(rule, problems)
        for step in steps:
            while going.step < step:
                going.move()
            score = problems.test_score(going.params) if problems.stochastic else None
            if score is None:
                loss = going.nll().double()
                found[step] = loss, torch.full_like(loss, torch.nan)
            else:
                found[step] = score.loss.double(), score.accuracy.double()
    return found


def summary(values: Sequence[Tensor]) -> dict[str, float | None]:
    """Mean over problems, then seeds; standard error over seeds, or over problems of a rule that has none."""
    means = torch.stack([value.mean() for value in values])
    spread = means if len(means) > 1 else values[0]
    return {"mean": float(means.mean()), "sem": float(spread.std() / len(spread) ** 0.5)}


def row(paths: Sequence[Mapping[int, tuple[Tensor, Tensor]]]) -> dict[str, Any]:
    at = sorted(paths[0])
    loss = {str(step): summary([path[step][0] for path in paths]) for step in at}
    accuracy = {str(step): summary([path[step][1] for path in paths]) for step in at}
    return {"loss": loss, "accuracy": accuracy, "worst": {str(s): max(float(p[s][0].max()) for p in paths) for s in at}}


def judge(problem: str) -> None:
    family, options, num = PROBLEMS[problem]
    experiment = Experiment.create(family=family, family_options=options)
    problems = held_out_problems(experiment, num)
    path_of_result = RESULTS / f"learned-{problem}.json"
    result: dict[str, Any] = {"family": family, "options": options, "num": num, "learned": {}, "baselines": {}}
    if path_of_result.exists() and (before := json.loads(path_of_result.read_text()))["num"] == num:
        result = before
    for name in RULE:
        if name in WHOLE or name in result["learned"] or not (RUNS / name / "summary.json").exists():
            continue
        if name.startswith("lstm") and family in ("mnist", "fashion-mnist", "cifar10"):
            continue  # 500 steps of so many coordinates would take it hours
        chains = Run.open(RUNS / name).chains
        begun = time.perf_counter()
        paths = [walk(chain.load().rule.eval(), problems, STEPS) for chain in chains]
        result["learned"][name] = {"seeds": len(chains), **row(paths)}
        print(problem, name, f"{time.perf_counter() - begun:.0f} s", flush=True)
    for name, of_step in rates(experiment).items():
        if name in result["baselines"]:
            continue
        path: dict[int, tuple[Tensor, Tensor]] = {}
        for lr in set(of_step.values()):
            path |= walk(RULES.build(name, {"lr": lr}), problems, [step for step in STEPS if of_step[step] == lr])
        result["baselines"][name] = {"rates": {str(step): lr for step, lr in of_step.items()}, **row([path])}
        print(problem, name, flush=True)
    if (optimum := problems.optimum()) is not None:
        result["optimum"] = float(optimum.double().mean())
    write_atomically(path_of_result, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    tasks: dict[str, tuple[Callable[[str], None], Sequence[str]]] = {
        "train": (train, list(RULE)),
        "judge": (judge, list(PROBLEMS)),
        "export": (export, list(RULE)),
    }
    match sys.argv[1:]:
        case [task, *names] if task in tasks and set(names) <= set(tasks[task][1]):
            for each in names or tasks[task][1]:
                tasks[task][0](each)
        case _:
            sys.exit(f"Error: expected train or export with {', '.join(RULE)}; or judge with {', '.join(PROBLEMS)}")
