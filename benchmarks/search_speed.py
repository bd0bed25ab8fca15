"""What a query of one function costs: writes ``benchmarks/results/search-speed.json``.

    python benchmarks/search_speed.py                       # this checkout
    python benchmarks/search_speed.py --before FOLDER       # and another, in turns with it
    python benchmarks/search_speed.py --page                # writes what was found into docs/black-box.md

Milliseconds of ``ask``, ``tell`` and ``should_stop`` of ``BlackBoxOptimizer`` on one core, over 20 queries of a
function of one variable, and beside them Optuna's Gaussian process (10 random trials at the start) and TPE if Optuna
is installed.  Rounds of all take turns.  Other work on the machine only adds, so of each query the smallest time of
all rounds counts, then the mean over queries; the median round is there too, in CPU time.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

QUERIES, ROUNDS, ROUNDS_OF_OTHERS = 20, 30, 3
OURS = ("gp-ei", "gp-1d")
OTHERS = ("optuna-tpe", "optuna-gp")
Times = list[tuple[float, float]]
"""Of each query in turn: seconds on the clock, and of the CPU."""


def function(x: float) -> float:
    return math.sin(9 * x) + x


def clocked(query: Callable[[], object]) -> Times:
    times = []
    for _ in range(QUERIES):
        begun, cpu = time.perf_counter(), time.process_time()
        query()
        times.append((time.perf_counter() - begun, time.process_time() - cpu))
    return times


def of_ours(name: str) -> Times:
    from probact import BlackBoxOptimizer

    bounds = [(0.0, 1.0)]
    made = BlackBoxOptimizer(name, bounds, price=0.01) if name == "gp-ei" else None
    optimizer = made or BlackBoxOptimizer.from_pretrained(name, bounds, price=0.01)

    def query() -> None:
        optimizer.tell(function(optimizer.ask()[0]))
        optimizer.should_stop()

    return clocked(query)


def of_optuna(name: str) -> Times:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kind = {"optuna-tpe": optuna.samplers.TPESampler, "optuna-gp": optuna.samplers.GPSampler}[name]
    study = optuna.create_study(sampler=kind(seed=0, n_startup_trials=10))

    def query() -> None:
        trial = study.ask()
        study.tell(trial, function(trial.suggest_float("x", 0, 1)))

    return clocked(query)


def serve() -> None:
    """A round of each name that comes in, as a line of json."""
    import warnings

    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        name = line.strip()
        print(json.dumps(of_ours(name) if name in OURS else of_optuna(name)), flush=True)


class Worker:
    """A process of its own, which imports from ``checkout``."""

    def __init__(self, checkout: Path) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), "--serve"]
        environment = {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=checkout
        )

    def round(self, name: str) -> Times:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(name, file=self.process.stdin, flush=True)
        times: Times = json.loads(self.process.stdout.readline())
        return times

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def summary(rounds: list[Times]) -> dict[str, float]:
    milliseconds = 1000 * np.array(rounds)
    return {
        "smallest": round(float(milliseconds[..., 0].min(0).mean()), 3),
        "median_cpu": round(float(np.median(milliseconds[..., 1].mean(1))), 3),
        "rounds": len(rounds),
    }


NAMES = {
    "gp-ei": "`gp-ei`, nothing to train",
    "gp-1d": "`gp-1d`, trained, with its halting posterior",
    "optuna-tpe": "Optuna's TPE",
    "optuna-gp": "Optuna's Gaussian process",
}


def write_page() -> None:
    from pages import FOLDER, fill, number, read, table

    found = read("search-speed")["milliseconds_a_query"]
    rows = []
    for name, label in NAMES.items():
        for which, words in (("", ""), (" before", ", before")):
            if one := found.get(name + which):
                rows.append([label + words, number(one["smallest"], 3), number(one["median_cpu"], 3)])
    text = table(["a query of one function of one variable", "smallest, ms", "median CPU, ms"], rows)
    path = FOLDER.parent / "docs" / "black-box.md"
    fill(path, {"speed": text})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout of an earlier version")
    parser.add_argument("--page", action="store_true", help="write the last result into docs/black-box.md")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve()
        return
    if asked.page:
        write_page()
        return
    from pages import FOLDER, RESULTS

    from probact.support.files import write_atomically

    workers = {"": Worker(FOLDER.parent)}
    workers |= {" before": Worker(asked.before.resolve())} if asked.before else {}
    found: dict[str, list[Times]] = {}
    for number in range(-1, ROUNDS):  # the first one warms up
        for name in (*OURS, *(OTHERS if find_spec("optuna") and number < ROUNDS_OF_OTHERS else ())):
            for which, worker in workers.items():
                if name in OURS or not which:
                    times = worker.round(name)
                    found.setdefault(name + which, []).extend([times] if number >= 0 else [])
    for worker in workers.values():
        worker.close()
    result = {"queries": QUERIES, "milliseconds_a_query": {name: summary(rounds) for name, rounds in found.items()}}
    write_atomically(RESULTS / "search-speed.json", json.dumps(result, indent=1) + "\n")
    for name, one in result["milliseconds_a_query"].items():
        print(name, one)


if __name__ == "__main__":
    main()
