"""The thesis' learners on MNIST, taught first: writes ``results/thesis-mnist.json``.

    export PROBACT_DATA_DIR=...
    python benchmarks/thesis_mnist.py                        # train what is missing, then judge
    python benchmarks/thesis_mnist.py train --seed 1         # one seed
    python benchmarks/thesis_mnist.py judge

The learners are those of ``networks.py`` (LSTM 2 x 20, steps times 0.1) and so is what they are judged on: 20 new
784-20-10 networks, all 10,000 test images, to step 200.  No training sees a test image.  Each seed has a curriculum
of three parts, each from where the one before ended:

1. lessons (``lessons.py``): the rule is taught the steps of Nesterov momentum on recorded gradients.
2. ``l2l``: as by ``fit --halting none``, log loss, an update every 20 of 100 steps.
3. ``stick-breaking`` and ``graves``: as by ``fit``, rule and halting posterior on their own objective.

``stick-breaking-kept`` and ``graves-kept`` begin where ``l2l`` ended as well, but as by ``fit --freeze-rule``: the rule
stays what it is, and so do its losses; only the halting posterior is trained.  Nothing is backpropagated through the
rule, so that there is time for more meta-steps.  How their heads halt is judged on all 20 networks.

A training that was interrupted goes on where it was (but for lessons, which take a minute or two of one core).
"""

from __future__ import annotations

import argparse
import json
import math
import os
from dataclasses import asdict
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import torch
from lessons import Lessons, teach

from probact.inference import exact
from probact.inference.belief import infer_from
from probact.inference.objectives.base import Objective
from probact.judging.problem_sets import held_out_problems
from probact.judging.trajectory import record
from probact.rules.base import UpdateRule
from probact.runs.experiment import Experiment
from probact.runs.run import Chain, Run
from probact.runs.sources import best_of
from probact.runs.trained import TrainedOptimizer
from probact.support.files import write_atomically
from probact.support.statistics import rank_correlation
from probact.training.loop import train as fit
from probact.unrolling.rollout import Rollout, unroll

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs" / "thesis-mnist"
RESULT = Path(__file__).resolve().parent / "results" / "thesis-mnist.json"
SEEDS = (0, 1, 2)
AT = (1, 5, 10, 20, 50, 100, 200)
NETWORKS = 5
"""Of the 20 that ``networks.py`` judges on, the first."""
HALTING_NETWORKS = 20
HORIZON = 100
LESSONS = Lessons()
COMMON = {
    "family": "mnist",
    "family_options": {"held_out": False},
    "rule": "lstm",
    "rule_options": {"scale": 0.1},
    "horizon": HORIZON,
    "batch": 1,
    "lr": 1e-3,
    "validate_every": 1000,
    "validation_problems": 2,
}
FITS: dict[str, dict[str, Any]] = {
    "l2l": {"meta_steps": 8, "halting": "none", "objective": "log-loss", "by_segment": True},
    "stick-breaking": {"meta_steps": 10, "halting": "stick-breaking"},
    "graves": {"meta_steps": 6, "halting": "graves", "halting_first": False, "ponder_cost": 4.0},
}
KEPT = {"freeze_rule": True, "meta_steps": 30, "lr": 3e-2}
FITS["stick-breaking-kept"] = {**FITS["stick-breaking"], **KEPT}
FITS["graves-kept"] = {**FITS["graves"], **KEPT, "ponder_cost": 0.41}
"""A step costs what it costs stick-breaking, -8 log .95 nats.  At 4 the objective of this head, whose N has no
gradient, rises while it is trained (seed 0), so that ``fit`` would keep the head as it began."""
LAST = {"lessons": 100, "l2l": 200, "stick-breaking": 100, "graves": 100}
"""Step up to which they are judged; those whose rule is kept are judged as ``l2l``."""
LEARNERS = ("lessons", *FITS)
BEGINS_WITH = {learner: "lessons" if learner == "l2l" else "l2l" for learner in FITS}


def folder(learner: str, seed: int) -> Path:
    """Of lessons the file."""
    return RUNS / (f"{learner}-{seed}.pt" if learner == "lessons" else f"{learner}-{seed}")


def train(learner: str, seed: int) -> None:
    """From wherever it is; what is finished stays as it is."""
    out = folder(learner, seed)
    if learner == "lessons":
        if not out.exists():
            RUNS.mkdir(parents=True, exist_ok=True)
            teach(out, seed, LESSONS)
        return
    if (out / "experiment.json").exists():
        run = Run.open(out, to_train=True)
    else:
        begin, settings = folder(BEGINS_WITH[learner], seed), {**COMMON, **FITS[learner]}
        experiment = Experiment.create(**settings, begin_with=os.path.relpath(begin, ROOT), seed=seed)
        run = Run.create(out, experiment, (seed,), best_of(str(begin)))
    for chain in run.chains:
        fit(chain, lambda record: print(f"{learner}, seed {seed}: {record}", flush=True), lambda: False)


def judge(learner: str, seed: int) -> None:
    """What one trained optimizer reaches on the test set, and how it halts, added to the results if it is not there."""
    known: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    rows = known.setdefault(learner, {"trained_by": trained_by(learner), "seeds": {}})["seeds"]
    trained = folder(learner, seed)
    if not is_trained(learner, seed):
        return
    if str(seed) not in rows:
        keeps = FITS.get(learner, {}).get("freeze_rule")
        found = of_kept_rule(known, learner, seed) if keeps else on_test_set(rule_of(learner, seed), LAST[learner])
        rows[str(seed)] = {"networks": NETWORKS, **found, "training": how_trained(learner, seed)}
        if keeps:
            rows[str(seed)]["halting"] = how_it_halts(Run.open(trained).best(), seed)
        write_atomically(RESULT, json.dumps(known, indent=1) + "\n")
        print(learner, seed, found["test_loss"], found["accuracy"], flush=True)


def rule_of(learner: str, seed: int) -> UpdateRule:
    trained = folder(learner, seed)
    return TrainedOptimizer.load(trained).rule if learner == "lessons" else Run.open(trained).best().trained().rule


def of_kept_rule(known: dict[str, Any], learner: str, seed: int) -> dict[str, Any]:
    """What was found of the rule that it began with.

    :raises ValueError: if the weights are not the same, bit for bit, or those have not been judged.
    """
    began = BEGINS_WITH[learner]
    ours, theirs = (rule_of(name, seed).state_dict() for name in (learner, began))
    if not all(torch.equal(ours[name], theirs[name]) for name in theirs):
        raise ValueError(f"{learner}, seed {seed}: expected the weights of the rule of {began}, got others")
    row = known.get(began, {}).get("seeds", {}).get(str(seed))
    if row is None:
        raise ValueError(f"{learner}, seed {seed}: expected {began} to be judged before, got no row of it")
    return {name: row[name] for name in ("test_loss", "test_loss_sd", "accuracy")}


def is_trained(learner: str, seed: int) -> bool:
    out = folder(learner, seed)
    if learner == "lessons":
        return out.exists()
    return (out / "experiment.json").exists() and all(
        len(chain.records()) == chain.experiment.meta_steps for chain in Run.open(out).chains
    )


def on_test_set(rule: UpdateRule, last: int) -> dict[str, dict[str, float]]:
    """Means over the networks, one after the other: their memory is what a processor's cache can hold."""
    problems = held_out_problems(Experiment.create(family="mnist"), 20).select(torch.arange(NETWORKS))
    at = [step for step in AT if step <= last]
    parts = [
        record(rule, one, last, score_at=at).scores for one in map(problems.select, torch.arange(NETWORKS).split(1))
    ]
    scores = {step: [torch.cat(found) for found in zip(*(part[step] for part in parts), strict=True)] for step in at}
    return {
        "test_loss": {str(step): float(loss.mean()) for step, (loss, _) in scores.items()},
        "test_loss_sd": {str(step): float(loss.std()) for step, (loss, _) in scores.items()},
        "accuracy": {str(step): float(accuracy.mean()) for step, (_, accuracy) in scores.items()},
    }


def how_it_halts(chain: Chain, seed: int) -> dict[str, Any]:
    """On held-out networks, of the trained head and of the one it began with."""
    rollouts = paths(seed)
    before = belief(chain.untrained().eval(), rollouts)
    return {"networks": HALTING_NETWORKS, **belief(chain.load(), rollouts), "before": before}


@lru_cache
def paths(seed: int) -> list[Rollout]:
    """Of the rule that ``l2l`` ended with and both heads kept, on the held-out networks, one after the other."""
    problems = held_out_problems(Experiment.create(family="mnist"), HALTING_NETWORKS)
    rule = rule_of("l2l", seed)
    with torch.no_grad():
        return [unroll(rule, one, HORIZON) for one in map(problems.select, torch.arange(HALTING_NETWORKS).split(1))]


def belief(objective: Objective, rollouts: list[Rollout]) -> dict[str, float | None]:
    """E[t] under q(t|x), the mode of q and the exact MAP, and how far q is from the exact posterior.

    As in ``halt-stats``: rank correlations are Spearman's over networks with the exact MAP, None where one of the two
    is constant.  The exact posterior and the amortisation gap, in nats, are those of the KL scale of training; graves
    has none, so that they are those of 1.
    """
    several = [infer_from(objective, rollout).tables() for rollout in rollouts]
    q, p, gap = (
        torch.cat([tables[name] for tables in several]) for name in ("halt_pmf", "tempered_pmf", "tempered_gap")
    )
    mean, mode, best = exact.mean_step(q.log().T), 1.0 + q.argmax(1), 1.0 + p.argmax(1)
    correlations = {"rank_correlation": mode, "rank_correlation_of_mean": mean}
    found = {name: rank_correlation(steps.numpy(), best.numpy()) for name, steps in correlations.items()}
    moments = {"mean": mean, "mode": mode, "map": best}
    return {
        **{name: float(steps.mean()) for name, steps in moments.items()},
        **{f"{name}_sd": float(steps.std()) for name, steps in moments.items()},
        **{name: None if math.isnan(value) else value for name, value in found.items()},
        "amortisation_gap": float(gap.mean()),
    }


def how_trained(learner: str, seed: int) -> dict[str, Any]:
    """Seconds are by the clock, of a machine that others used as well; halting is E[t] under q, on validation."""
    if learner == "lessons":
        told: dict[str, Any] = json.loads(folder(learner, seed).with_suffix(".json").read_text())
        return told
    records = [record for records in Run.open(folder(learner, seed)).records().values() for record in records]
    return {
        "meta_steps": len(records),
        "updates": records[-1]["updates"],
        "seconds": sum(record["seconds"] for record in records),
        "validation": records[-1]["validation"],
        "mean_halting": records[-1]["validation_halting"],
    }


def trained_by(learner: str) -> dict[str, Any]:
    return asdict(LESSONS) if learner == "lessons" else {**COMMON, **FITS[learner], "begin_with": BEGINS_WITH[learner]}


def main() -> None:
    parser = argparse.ArgumentParser(description="The thesis' learners on MNIST, taught first.")
    parser.add_argument("what", nargs="?", choices=("train", "judge"), help="both, if not given")
    parser.add_argument("--learner", choices=LEARNERS, help="all, if not given")
    parser.add_argument("--seed", type=int, choices=SEEDS, help="all, if not given")
    given = parser.parse_args()
    torch.set_num_threads(1)
    learners = LEARNERS if given.learner is None else (given.learner,)
    seeds = SEEDS if given.seed is None else (given.seed,)
    for learner, seed in product(learners, seeds):
        for work in {"train": [train], "judge": [judge], None: [train, judge]}[given.what]:
            work(learner, seed)


if __name__ == "__main__":
    main()
