"""What stopping saves in time: writes ``benchmarks/results/compaction.json``.

    python benchmarks/compaction.py

1,000 problems, H = 100: the LSTM (2 x 20) and Adam on ``mixed``, Adam on ``digits``.  Halting steps are drawn from a
geometric with mean 20 = H/5.  Three ways, timed in turn, five rounds: every problem to H; stopped but kept in the
batch; stopped and out of it.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import torch

from probact.inference.posteriors.base import HaltingPosterior
from probact.rules.base import RULES
from probact.runs.experiment import Experiment
from probact.stopping.online import run_until_stopped
from probact.stopping.rules import Budget, Stochastic
from probact.support.files import write_atomically
from probact.support.randomness import random_stream

RESULT = Path(__file__).resolve().parent / "results" / "compaction.json"
NUM, HORIZON, MEAN, ROUNDS = 1000, 100, 20, 5


def measure(name: str, family: str) -> dict[str, object]:
    torch.manual_seed(0)
    rule = RULES[name]()
    posterior = HaltingPosterior.of(rule, "stick-breaking", 0.95)
    with torch.no_grad():  # a constant hazard of 1 / MEAN
        posterior.output.weight.zero_()
        posterior.output.bias.fill_(-math.log(MEAN - 1))
    problems = Experiment.create(family=family).build_family().sample(NUM, random_stream("test", 0))
    ways = {
        "to H": lambda: run_until_stopped(rule, problems, HORIZON, Budget(HORIZON)),
        "stopped, kept": lambda: run_until_stopped(rule, problems, HORIZON, Stochastic(), posterior, compact=False),
        "stopped, out": lambda: run_until_stopped(rule, problems, HORIZON, Stochastic(), posterior),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    last = {}
    for _ in range(ROUNDS):
        for way, run in ways.items():
            begun = time.perf_counter()
            last[way] = run()
            seconds[way].append(time.perf_counter() - begun)
    difference = max(
        float((last["stopped, out"].params[key] - value).abs().max())
        for key, value in last["stopped, kept"].params.items()
    )
    ratios = sorted(a / b for a, b in zip(seconds["to H"], seconds["stopped, out"], strict=True))
    return {
        "mean_halting_step": float(last["stopped, out"].step.double().mean()),
        "steps_computed": {way: result.steps_computed for way, result in last.items()},
        "seconds": seconds,
        "speed_up_median": ratios[len(ratios) // 2],
        "speed_up_range": [ratios[0], ratios[-1]],
        "largest_difference_of_parameters": difference,
    }


if __name__ == "__main__":
    cases = (("lstm", "mixed"), ("adam", "mixed"), ("adam", "digits"))
    result = {f"{name} on {family}": measure(name, family) for name, family in cases}
    RESULT.parent.mkdir(exist_ok=True)
    write_atomically(RESULT, json.dumps({"threads": torch.get_num_threads(), **result}, indent=1) + "\n")
    for case, row in result.items():
        print(case, {key: row[key] for key in row if key != "seconds"})
