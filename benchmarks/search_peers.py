"""Searches of other libraries on the functions that ours are judged by: regret by query, and J at a price of a query.

    pip install optuna scikit-optimize
    python benchmarks/search_peers.py run                      # all families and methods, hours; goes on where it was
    python benchmarks/search_peers.py run gp-1d optuna-tpe     # a part of it
    python benchmarks/search_peers.py run gp-1d gp-1d=FILE     # a trained search, by ask and tell, under a name
    python benchmarks/search_peers.py table                    # prints the tables
    python benchmarks/search_peers.py page                     # writes them into docs/black-box.md

``run`` adds a line for each function to benchmarks/results/search-peers.jsonl.  The functions are the first of those
that ``benchmarks/search.py judge`` takes.  Ours go through ``BlackBoxOptimizer``, one run for each price.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from search_peers_tables import FUNCTIONS, HORIZONS, OTHERS, OUT, PRICES, SLOW, lines, page, tables

from probact import BlackBoxOptimizer
from probact.judging.problem_sets import held_out_problems
from probact.problems.black_box import Regret
from probact.rules.base import RULES, UpdateRule
from probact.runs.experiment import Experiment

DRAWN = 1000
"""Functions of a set; a part of it is asked."""
Point = list[float]
Function = Callable[[Point], float]


class Asked(NamedTuple):
    """Values in the order of the queries, CPU seconds, and where a search stops at each price."""

    values: list[float]
    seconds: float
    stops: dict[str, int]


def optuna_by(sampler: str, start: int) -> Callable[[Function, int, int, int], Asked]:
    def run(function: Function, dim: int, horizon: int, seed: int) -> Asked:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        kind = {"tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler}[sampler]
        study = optuna.create_study(sampler=kind(seed=seed, n_startup_trials=start))
        begun = time.process_time()
        study.optimize(lambda trial: function([trial.suggest_float(f"x{i}", 0, 1) for i in range(dim)]), horizon)
        return Asked([trial.value for trial in study.trials], time.process_time() - begun, {})

    return run


def skopt_by(start: int) -> Callable[[Function, int, int, int], Asked]:
    def run(function: Function, dim: int, horizon: int, seed: int) -> Asked:
        from skopt import gp_minimize

        begun = time.process_time()
        found = gp_minimize(
            function, [(0.0, 1.0)] * dim, n_calls=horizon, n_initial_points=start, random_state=seed, acq_func="EI"
        )
        return Asked([float(value) for value in found.func_vals], time.process_time() - begun, {})

    return run


def ours_by(source: str | Callable[[int], UpdateRule], is_rule: bool) -> Callable[[Function, int, int, int], Asked]:
    def run(function: Function, dim: int, horizon: int, seed: int) -> Asked:
        stops, seconds, values = {}, 0.0, []
        bounds, has_stop = [(0.0, 1.0)] * dim, source != "random-search"
        for price in PRICES if has_stop else PRICES[:1]:
            settings: dict[str, Any] = {"price": price} if has_stop else {"stop": None}
            rule = source if isinstance(source, str) else source(dim)
            made = BlackBoxOptimizer(rule, bounds, **settings) if is_rule else None
            optimizer = made or BlackBoxOptimizer.from_pretrained(str(source), bounds, **settings)
            values, begun, stop = [], time.process_time(), horizon
            for step in range(1, horizon + 1):
                values.append(function(optimizer.ask()))
                optimizer.tell(values[-1])
                if optimizer.should_stop() and stop == horizon:
                    stop = step
            seconds = time.process_time() - begun
            stops |= {str(price): stop} if has_stop else {}
        return Asked(values, seconds, stops)

    return run


STARTS = (1, 3, 5, 10)
METHODS: dict[str, Callable[[Function, int, int, int], Asked]] = {
    "random-search": ours_by("random-search", True),
    "gp-ei": ours_by("gp-ei", True),
    "lstm-search untrained": ours_by(lambda dim: RULES.build("lstm-search", {"dim": dim}), True),
    **{f"optuna-tpe {start}": optuna_by("tpe", start) for start in STARTS},
    **{f"optuna-gp {start}": optuna_by("gp", start) for start in STARTS},
    "skopt-gp 5": skopt_by(5),
}
"""Of other libraries with so many random trials at the start; a table takes the best of these in each column."""


UNTRAINED = ("hartmann-3", "gradient-boosting")
"""Families of so many variables that no trained search ships: there it is asked before training."""


def functions(family: str) -> tuple[Regret, int]:
    """The set, and how many of it are asked."""
    experiment = Experiment.create(family=family, rule="gp-ei", horizon=HORIZONS[family], price=PRICES[1])
    problems = held_out_problems(experiment, DRAWN)
    assert isinstance(problems, Regret)
    return problems.to(torch.float64), FUNCTIONS.get(family, OTHERS)


def run(asked: list[str]) -> None:
    given = {name: path for name, _, path in (word.partition("=") for word in asked) if path}
    methods = {**METHODS, **{f"lstm-search {name}": ours_by(path, False) for name, path in given.items()}}
    words = [word for word in asked if "=" not in word]
    families = [family for family in HORIZONS if family in words] or list(HORIZONS)
    named = [word for word in words if word not in HORIZONS] + list(given)
    done = {(line["family"], line["method"], line["function"]) for line in lines()}
    for family in families:
        problems, num = functions(family)
        dim = problems.theta0["x"].shape[1]
        for method, ask in methods.items():
            if named and not any(word in method for word in named):
                continue
            if method.endswith("untrained") and family not in UNTRAINED:
                continue
            for index in range(min(num, SLOW.get(method.partition(" ")[0], num))):
                if (family, method, index) not in done:
                    one = problems.select(torch.tensor([index]))
                    found = ask(_function(one), dim, HORIZONS[family], index)
                    _add(family, method, index, found, float(one.lowest))
            print(family, method, flush=True)


def _function(one: Regret) -> Function:
    return lambda point: float(one.value({"x": torch.tensor([point], dtype=torch.float64)}))


def _add(family: str, method: str, index: int, found: Asked, lowest: float) -> None:
    best = [float(f"{value:.4g}") for value in np.minimum.accumulate(found.values) - lowest]
    line = {
        "family": family,
        "method": method,
        "function": index,
        "falls": [[step, best[step]] for step in range(len(best)) if step == 0 or best[step] != best[step - 1]],
        "milliseconds": round(1000 * found.seconds / len(best), 3),
    }
    with OUT.open("a") as file:
        file.write(json.dumps(line | ({"stops": found.stops} if found.stops else {}), separators=(",", ":")) + "\n")


def main() -> None:
    warnings.simplefilter("ignore")
    what, asked = sys.argv[1] if len(sys.argv) > 1 else "", sys.argv[2:]
    match what:
        case "run":
            run(asked)
        case "table":
            print(tables())
        case "page":
            page()
        case _:
            sys.exit(f"Error: expected run, table or page, got {what!r}\n{__doc__}")


if __name__ == "__main__":
    main()
