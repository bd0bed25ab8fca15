"""Ablations of the training levers: writes ``results/levers.json``.

    python benchmarks/levers.py

The subspace rule on networks on ``digits``, equal numbers of meta-steps, two seeds; the base settings and one change at
a time, judged on 64 new networks to twice the horizon that they were trained for.  10 minutes on one core.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch

from probact.judging.problem_sets import held_out_problems
from probact.judging.trajectory import losses_after
from probact.runs.experiment import Experiment
from probact.support.files import write_atomically
from probact.training.meta_training import MetaTraining

RESULTS = Path(__file__).resolve().parent / "results"
BASE: dict[str, Any] = {
    "family": "digits",
    "rule": "subspace",
    "rule_options": {"memory": 0, "start": "adam"},
    "halting": "none",
    "objective": "log-loss",
    "through_path": True,
    "by_segment": True,
    "truncate": 10,
    "horizon": 50,
    "batch": 8,
    "lr": 2e-3,
    "meta_steps": 60,
    "validate_every": 20,
    "validation_problems": 16,
}
LEVERS: dict[str, dict[str, Any]] = {
    "base": {},
    "sum of losses": {"objective": "sum-of-losses"},
    "one update an unroll": {"by_segment": False},
    "path cut": {"through_path": False},
    "curriculum": {"curriculum": 30},
    "imitation of NAG": {"imitate": "nag", "imitation_steps": 30},
    "random scaling": {"random_scaling": 0.5},
    "PES": {"by_segment": False, "gradient": "pes", "pes_sigma": 0.003},
}
SEEDS = 2
STEPS = (10, 20, 50, 100)


def judge(settings: dict[str, Any]) -> dict[str, Any]:
    losses, seconds = [], []
    for seed in range(SEEDS):
        experiment = Experiment.create(**{**BASE, **settings}, seed=seed)
        begun = time.perf_counter()
        training = MetaTraining(experiment)
        for _ in training:
            pass
        seconds.append(time.perf_counter() - begun)
        training.objective.load_state_dict(training.best_weights)
        problems = held_out_problems(experiment, 64)
        losses.append(losses_after(training.objective.rule.eval(), problems, STEPS).double().mean(1))
    table = torch.stack(losses)
    return {
        "seconds": sum(seconds) / SEEDS,
        "loss": dict(zip(map(str, STEPS), table.mean(0).tolist(), strict=True)),
        "sem": dict(zip(map(str, STEPS), (table.std(0) / SEEDS**0.5).tolist(), strict=True)),
    }


if __name__ == "__main__":
    found: dict[str, Any] = {"base": BASE, "seeds": SEEDS, "levers": {}}
    for name, change in LEVERS.items():
        found["levers"][name] = judge(change)
        print(name, json.dumps(found["levers"][name]), flush=True)
        write_atomically(RESULTS / "levers.json", json.dumps(found, indent=1) + "\n")
