"""Networks that decide how long to compute, on ``parity``: writes ``results/loops-<name>.json`` and the page's tables.

    python benchmarks/loops.py train [NAME ...]     # trains RUNS, one after another; what is done is left alone
    python benchmarks/loops.py judge [NAME ...]     # of the runs that are there
    python benchmarks/loops.py table                # docs/computation.md and its figure, from the results

Runs lie in ``runs/loops`` or where ``--runs`` says.  Recipes were chosen on seeds from 10 on; seeds 0, 1, 2 are for
judging.  Thresholds of stops are tuned on the sizes of training alone, also where other sizes are tested.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from loops_tables import EXTRAPOLATED, write_page
from pages import lines
from torch import Tensor

from probact.inference.belief import infer
from probact.judging.averaging import score
from probact.judging.problem_sets import held_out_problems
from probact.judging.stops import own_kinds, tuned_stop
from probact.problems.base import FAMILIES, Labels, Optimizee
from probact.problems.labelled import Labelled
from probact.rules.base import UpdateRule
from probact.runs.experiment import Experiment
from probact.runs.run import Chain, Run
from probact.runs.trained import TrainedOptimizer
from probact.stopping.base import StopRule
from probact.stopping.online import run_until_stopped
from probact.stopping.rules import Budget, Cumulative
from probact.support.files import write_atomically
from probact.support.randomness import random_stream
from probact.support.statistics import rank_correlation
from probact.training.loop import train
from probact.unrolling.rollout import returned_params

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
HALF = {"family_options": {"nonzero": "1:8"}}
ACT = {"halting": "graves", "halting_first": False, "kl_scale": 1.0}
PRICED: dict[str, Any] = {"prior_nu": 0.95, "kl_scale": 0.1}
"""What a step costs where ways to train are compared: as ``parity`` recommends, for all."""
NUM, ROUNDS, CHECK, CAP = 4096, 15, 200, 800
EVIDENCE = ("elbo", "log_evidence", "amortisation_gap", "horizon_gap")
TESTS: dict[str, tuple[dict[str, Any], int]] = {
    "n = 16, 9 to 16 non-zeros": ({"nonzero": "9:16"}, 24),
    "n = 64, 1 to 64 non-zeros": ({"n": 64}, 80),
}
"""Other problems that a run on ``parity`` is tested on, and the steps that it may take."""


class Plan(NamedTuple):
    """How a run is trained, beside what ``parity`` recommends, and from which seeds.

    ``until_learned`` ends it at the first multiple of ``CHECK`` meta-steps where it is ``learned``; ``meta_steps`` is
    the cap.
    """

    settings: dict[str, Any]
    seeds: tuple[int, ...] = (0, 1, 2)
    until_learned: bool = False


RUNS = {
    "tuning": Plan({}, (10,)),
    "parity": Plan({}),
    "half": Plan(HALF),
    "addition": Plan({"family": "addition"}, (0,)),
    "gru-loop": Plan({"rule": "gru-loop", "meta_steps": 1000}, (0,)),
}


def fit(name: str, runs: Path, plan: Plan) -> None:
    """Train what is left of run ``name``."""
    folder = runs / name
    if not (folder / "experiment.json").exists():
        experiment = Experiment.create(**{"family": "parity", **plan.settings})
        source = Run.open(Path(experiment.begin_with)).chains[0].trained() if experiment.begin_with else None
        Run.create(folder, experiment, plan.seeds, source)
    for chain in Run.open(folder).chains:
        while (begun := len(chain.records())) < chain.experiment.meta_steps:
            if plan.until_learned and has_learned(chain, begun):
                break
            print(f"{name}, seed {chain.experiment.seed}: from meta-step {begun}", flush=True)
            go_on(chain, CHECK if plan.until_learned else chain.experiment.meta_steps)


def go_on(chain: Chain, every: int) -> None:
    """Train ``chain`` up to the next multiple of ``every`` meta-steps."""
    done: list[int] = []
    train(chain, lambda record: done.append(record.step), lambda: done[-1] % every == 0)


def has_learned(chain: Chain, num: int) -> bool:
    """Whether training has ended after ``num`` meta-steps, at the nu that was asked for, because it is ``learned``."""
    is_due = num > 0 and num % CHECK == 0 and num >= chain.experiment.nu_warmup
    return is_due and learned(chain.trained(), chain.experiment)


def learned(one: TrainedOptimizer, settings: Experiment) -> bool:
    """Whether 99.9 % of 512 problems of training's kind are answered right at the median of q(t|x)."""
    problems: Any = settings.build_family().sample(512, random_stream("tuning", settings.seed, 99))
    stopped = run_until_stopped(one.rule, problems, settings.horizon, Cumulative(0.5), one.posterior)
    labels = problems.held_out_labels(stopped.params)
    return float(score(Labels(labels.probabilities.double(), labels.labels)).accuracy.mean()) >= 0.999


def accuracies(rule: UpdateRule, problems: Optimizee, num_steps: int) -> Tensor:
    """Share of right answers after 1..K steps of the same network, ``(K,)``: a fixed budget for all."""
    with torch.no_grad():
        path = returned_params(rule, problems, num_steps, best=False)
        scores = [problems.test_score(params) for params in path]
    return torch.stack([score.accuracy.double().mean() for score in scores if score is not None])


def enough(curve: Tensor, accuracy: float) -> int | None:
    """The fewest steps for all with that accuracy; None where there are none."""
    reached = (curve >= accuracy).nonzero()
    return 1 + int(reached[0]) if len(reached) else None


def judged(one: TrainedOptimizer, stop: StopRule, problems: Labelled, num_steps: int) -> dict[str, Any]:
    """How ``one`` does on ``problems`` when ``stop`` says when, within ``num_steps``."""
    stopped = run_until_stopped(one.rule, problems, num_steps, stop, one.posterior)
    labels = problems.held_out_labels(stopped.params)
    found = score(Labels(labels.probabilities.double(), labels.labels))
    curve = accuracies(one.rule, problems, num_steps)
    steps, accuracy = stopped.step.double(), float(found.accuracy.mean())
    by_count = {
        str(int(count)): [float(steps[chosen].mean()), float(steps[chosen].std()), float(found.accuracy[chosen].mean())]
        for count in problems.count.unique()
        if (chosen := problems.count == count).sum() > 1
    }
    return {
        "accuracy": accuracy,
        "steps": float(steps.mean()),
        "steps_sd": float(steps.std()),
        "log_loss": float(stopped.nll.double().mean()),
        "calibration_error": found.calibration_error,
        "rank_correlation": rank_correlation(steps.numpy(), problems.count.numpy()),
        "fixed_steps": enough(curve, accuracy),
        "accuracy_by_step": curve.tolist(),
        "by_count": by_count,
    }


def timed(one: TrainedOptimizer, stop: StopRule, problems: Labelled, fixed: int, num_steps: int) -> dict[str, Any]:
    """Seconds of stopping each problem, which then leaves the batch, of ``fixed`` for all and of ``num_steps``.

    In turn, ``ROUNDS`` times; those that do not stop by the head have none.  Seconds of the processor, so that what
    else runs on the machine counts little; on one thread and an idle core they are those of the clock.
    """
    ways: dict[str, StopRule] = {"stopped": stop, "fixed": Budget(fixed), "all": Budget(num_steps)}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    computed = {}
    for _ in range(ROUNDS):
        for way, rule in ways.items():
            begun, head = time.process_time(), one.posterior if way == "stopped" else None
            found = run_until_stopped(one.rule, problems, num_steps, rule, head)
            seconds[way].append(time.process_time() - begun)
            computed[way] = found.steps_computed
    return {"fixed": fixed, "seconds": seconds, "steps_computed": computed, "problems": problems.num}


def judge(name: str, runs: Path) -> None:
    """Write ``results/loops-NAME.json``, of the seeds that are trained to the end."""
    run, plan = Run.open(runs / name), RUNS[name]
    tests = {"parity": [*TESTS], "half": [EXTRAPOLATED]}.get(name, [])
    rows = [row_of(chain, tests=tests) for chain in run.chains if is_done(chain, plan)]
    write_rows(name, run, rows)


def is_done(chain: Chain, plan: Plan) -> bool:
    """Whether ``fit`` has come to its end."""
    num = len(chain.records())
    return (plan.until_learned and has_learned(chain, num)) or num >= chain.experiment.meta_steps


def row_of(
    chain: Chain, charged: Experiment | None = None, tests: Sequence[str] = (), times: bool = False
) -> dict[str, Any]:
    """How a training did.

    :param charged: says what a step costs, where it is not what training charged.
    :param tests: names of ``TESTS``; :param times: measure seconds too.
    """
    settings, one = chain.experiment, chain.trained()
    charged = charged or settings
    stop = tuned_stop(one, charged, own_kinds(followed=True, sees_gradient=False))
    own: Any = held_out_problems(settings, NUM)
    row = {"own": judged(one, stop, own, settings.horizon)}
    for size in tests:
        options, num_steps = TESTS[size]
        problems: Any = FAMILIES.build("parity", options).sample(NUM, random_stream("test", 1))
        row[size] = judged(one, stop, problems, num_steps)
    tables = infer(chain.load(), own).tables()
    evidence = {key: float(tables[key].mean()) for key in EVIDENCE}
    fixed = row["own"]["fixed_steps"] or settings.horizon
    records = chain.records()
    print(f"{settings.family}, seed {settings.seed}: {row['own']['accuracy']:.1%}, {row['own']['steps']:.2f} steps")
    return {
        "seed": settings.seed,
        "stop": stop.describe(),
        "price": charged.step_cost,
        "seconds": sum(record["seconds"] for record in records),
        "meta_steps": len(records),
        **row,
        "evidence": evidence,
        **({"time": timed(one, stop, own, fixed, settings.horizon)} if times else {}),
    }


def measure(result: Path, name: str, plan: Plan, runs: Path, *, times: bool = False) -> None:
    """Train by ``plan`` from its seed, in a folder of ``name``, and add how it did to ``result``.

    A line a training; what is there is left alone.
    """
    settings, (seed,) = plan.settings, plan.seeds
    if any((row["settings"], row["seed"]) == (settings, seed) for row in lines(result)):
        return
    folder = f"{name}-{seed}"
    fit(folder, runs, plan)
    row = {"settings": settings, **row_of(Run.open(runs / folder).chains[0], times=times)}
    with result.open("a") as file:
        file.write(json.dumps(row) + "\n")


def write_rows(name: str, run: Run, rows: list[dict[str, Any]]) -> None:
    """``results/loops-NAME.json``, of one training a row."""
    if rows:
        result = {"name": name, "settings": run.experiment.given(), "threads": torch.get_num_threads(), "seeds": rows}
        write_atomically(RESULTS / f"loops-{name}.json", json.dumps(result, indent=1) + "\n")


def command(verbs: Sequence[str], names: Sequence[str]) -> argparse.ArgumentParser:
    """What to do, with which of ``names``, in which folder: of this script and those beside it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=verbs)
    parser.add_argument("names", nargs="*", choices=[[], *names])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "loops")
    if "tune" in verbs:
        parser.add_argument("--seed", type=int, nargs="*", default=[10], help="of tune")
    return parser


def main() -> None:
    given = command(("train", "judge", "table"), [*RUNS]).parse_args()
    if given.what == "table":
        write_page()
        return
    for name in given.names or RUNS:
        if given.what == "train":
            fit(name, given.runs, RUNS[name])
        elif (given.runs / name).exists():
            judge(name, given.runs)


if __name__ == "__main__":
    main()
