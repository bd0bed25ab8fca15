"""Black-box search of functions from Gaussian processes: regret, and what stopping is worth at a price of a query.

    python benchmarks/search.py train gp-1d --seed 0        # about 10 minutes; writes runs/search-gp-1d-0
    python benchmarks/search.py judge gp-1d                 # writes benchmarks/results/search-gp-1d.json
    python benchmarks/search.py table                       # writes the tables of docs/black-box.md

``train`` runs ``python cli.py fit`` with prices log-uniform between .003 and .034, so that one network serves all; a
run that is there is resumed.  ``judge`` takes every seed that has been trained, and TPE if Optuna is installed; with
``--unit known`` or ``halting`` it adds others to what is there.  Losses are regret f - min f, prices and J = regret at
the stop + price * queries in the unit of f, whose variance is 1.  Thresholds are tuned on functions of their own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pages import FOLDER, RESULTS, number, read, table, with_error
from search_tpe import STARTS, asked_by_tpe

from probact.judging.problem_sets import held_out_problems
from probact.judging.stops import Verdict, own_verdict, shares, stop_by, verdicts
from probact.judging.trajectory import Trajectory, record
from probact.problems.base import Optimizee
from probact.problems.black_box import Regret
from probact.rules.base import RULES
from probact.runs.experiment import Experiment
from probact.runs.run import Run
from probact.runs.trained import TrainedOptimizer
from probact.stopping.rules import ExpectedImprovement
from probact.support.files import write_atomically
from probact.support.randomness import random_stream
from probact.support.statistics import rank_correlation

ROOT = FOLDER.parent
PAGE = ROOT / "docs" / "black-box.md"
PRICES = (0.003, 0.01, 0.03)
SETTINGS = ("--family-option", "spread=3.4")
SMALL_TESTS = ("--validation-problems", "32", "--test-problems", "64")
SMALL = ("--rule-option", "hidden_size=32")
"""Half the state of ``gp-1d``: the weights of all dimensions have to fit into a wheel."""
RECIPES: dict[str, tuple[str, ...]] = {
    "gp-2d": (*SMALL, "--batch", "64"),
    "gp-6d": (*SMALL, "--batch", "8", "--meta-steps", "100", *SMALL_TESTS),
}
"""Options that make a training fit into half an hour, but for ``gp-1d``, which has the family's own."""
AT = {"gp-1d": (1, 2, 3, 5, 10, 20), "gp-2d": (1, 5, 10, 15, 20, 30), "gp-6d": (1, 5, 10, 20, 30, 60)}
ANCHORS = {
    "random-search": ("random-search", {}),
    "gp-ei, kernel fitted": ("gp-ei", {}),
    "gp-ei, kernels mixed": ("gp-ei", {"length": "mixed"}),
    "gp-ei, kernel known": ("gp-ei", {"length": "known"}),
}
UNITS = {"online": "lstm-search", "known": "lstm-search, unit known", "halting": "lstm-search, halting trained on"}
"""Kinds of training; the last begins with the search that ``online`` made of that seed, and trains its halting
posterior alone."""
HALTING = {
    "gp-1d": ("--meta-steps", "100"),
    "gp-2d": ("--batch", "64", "--meta-steps", "100"),
    "gp-6d": ("--horizon", "120", "--horizon-from", "60", "--batch", "8", "--meta-steps", "80", *SMALL_TESTS),
}
"""Options of that; in 6 dimensions on up to twice as many queries: its hazard fell beyond those it was trained on."""


def folder_of(runs: Path, family: str, seed: int, unit: str = "online") -> Path:
    return runs / f"search-{family}-{'' if unit == 'online' else f'{unit}-'}{seed}"


def train(family: str, seed: int, unit: str, runs: Path) -> None:
    folder = folder_of(runs, family, seed, unit)
    arguments = ["--resume", str(folder)]
    if not (folder / "experiment.json").exists():
        dim = family.removeprefix("gp-").removesuffix("d")
        arguments = ["--family", family, *SETTINGS, "--seed", str(seed), "--out", str(folder)]
        if unit == "halting":
            source = folder_of(runs, family, seed)
            if not (source / "summary.json").exists():
                sys.exit(f"Error: expected a trained run {source} to begin with, got none: train it first")
            shown = source.relative_to(ROOT) if source.is_relative_to(ROOT) else source
            arguments += ["--begin-with", str(shown), "--freeze-rule", *HALTING[family]]
        else:
            arguments += [] if dim == "1" else ["--rule-option", f"dim={dim}", *RECIPES[family]]
            arguments += ["--rule-option", "unit=known", "--meta-steps", "120"] if unit == "known" else []
    subprocess.run([sys.executable, str(ROOT / "cli.py"), "fit", *arguments], cwd=ROOT, check=True)


def spread_of(values: torch.Tensor) -> dict[str, float]:
    return {"mean": float(values.mean()), "sem": float(values.std() / len(values) ** 0.5)}


def in_unit(values: torch.Tensor, problems: Regret) -> torch.Tensor:
    """From nats above log 2s to the unit of f, ``(..., L)``."""
    scale = problems.scale.double()
    return (values - (2 * scale).log()) * scale


def stopped(found: Sequence[Verdict], problems: Regret) -> dict[str, Any]:
    """Of each way to stop J, steps and what of the way from budget to hindsight it goes."""
    best = next(one.stop for one in found if one.kind == "oracle").numpy()
    rows = {}
    for one, share in zip(found, shares(found), strict=True):
        steps = one.stop.double()
        rows[one.kind] = {
            "J": spread_of(in_unit(one.J, problems)),
            "steps": float(steps.mean()),
            "steps_sd": float(steps.std()),
            "share": share,
            "rank_correlation": rank_correlation(one.stop.numpy(), best),
            "rule": one.describe(),
        }
    own = own_verdict(found)
    return {**rows, "own": rows[own.kind]}


def judged(
    name: str, price: float, paths: Sequence[Trajectory], problems: Regret, cost: float, at: Sequence[int]
) -> dict[str, Any]:
    """One method at one price."""
    test, tuning = paths
    found = verdicts(test, tuning, cost)
    if test.known[0].expected is not None:
        at_price = stop_by(ExpectedImprovement.of_price(cost), test, cost)
        found.append(at_price._replace(kind="EI <= price"))
    regret = in_unit(test.nll, problems)
    return {
        "method": name,
        "price": price,
        "regret": {str(step): spread_of(regret[step]) for step in at if step < len(regret)},
        "stops": stopped(found, problems),
    }


def experiment_of(family: str, price: float) -> Experiment:
    return Experiment.create(family=family, price=price)


def sets(experiment: Experiment, num: int) -> tuple[Optimizee, Optimizee]:
    """Test functions, and half as many for tuning."""
    tuning = experiment.build_family().sample(num // 2, random_stream("tuning", 0))
    return held_out_problems(experiment, num), tuning


def judge(family: str, unit: str, num: int, runs: Path, out: Path) -> None:
    seeds = {seed: folder_of(runs, family, seed, unit) for seed in range(5)}
    trained = {key: _trained(folder) for key, folder in seeds.items() if (folder / "summary.json").exists()}
    if not trained:
        sys.exit(f"Error: expected trained runs {seeds[0]}, ..., got none: train them first")
    rows: list[dict[str, Any]] = []
    tpe: dict[int, list[Any]] = {}
    for price in PRICES:
        experiment = experiment_of(family, price)
        test, tuning = sets(experiment, num)
        assert isinstance(test, Regret)
        horizon, cost = experiment.horizon, experiment.step_cost
        for name, (rule, options) in ANCHORS.items() if unit == "online" else ():
            paths = [record(RULES.build(rule, options), problems, horizon) for problems in (test, tuning)]
            rows.append(judged(name, price, paths, test, cost, AT[family]))
        for start in STARTS if unit == "online" and find_spec("optuna") else ():
            if start not in tpe:
                tpe[start] = [asked_by_tpe(problems, horizon, start) for problems in (test, tuning)]
            paths = [record(rule, problems, horizon) for rule, problems in zip(tpe[start], (test, tuning), strict=True)]
            rows.append(judged(f"optuna-tpe, {start} random", price, paths, test, cost, AT[family]))
        for seed, one in trained.items():
            paths = [record(one.rule, problems, horizon, one.online_posterior) for problems in (test, tuning)]
            rows.append({"seed": seed, **judged(UNITS[unit], price, paths, test, cost, AT[family])})
        print(f"price {price}: judged", flush=True)
    before = json.loads(out.read_text()) if out.exists() and unit != "online" else {}
    result = {
        "command": f"python benchmarks/search.py judge {family} --functions {num}",
        "family": family,
        "functions": num,
        "tuning": num // 2,
        "horizon": horizon,
        "training": before.get("training", {}) | {f"{unit} {seed}": _training(seeds[seed]) for seed in trained},
        "milliseconds_a_query": before.get("milliseconds_a_query")
        or {name: cost_of(family, *built) for name, built in _timed(trained).items()},
        "rows": [row for row in before.get("rows", []) if row["method"] != UNITS[unit]] + rows,
    }
    write_atomically(out, json.dumps(result, indent=1) + "\n")


def _trained(folder: Path) -> TrainedOptimizer:
    return Run.open(folder).chains[0].trained()


def _training(folder: Path) -> dict[str, Any]:
    run = Run.open(folder)
    records = next(iter(run.records().values()))
    return {
        "meta_steps": len(records),
        "batch": run.experiment.batch,
        "minutes": sum(record["seconds"] for record in records) / 60,
    }


def _timed(trained: dict[int, TrainedOptimizer]) -> dict[str, tuple[Any, Any]]:
    first = next(iter(trained.values()))
    return {
        "gp-ei, kernel fitted": (RULES.build("gp-ei"), None),
        "lstm-search": (first.rule, first.online_posterior),
    }


def cost_of(family: str, rule: Any, posterior: Any, times: int = 7) -> float:
    """Median of CPU milliseconds that a query of one function takes, with the halting posterior where there is one."""
    experiment = experiment_of(family, 0.01)
    problem = held_out_problems(experiment, 1)
    found = []
    for _ in range(times):
        begun = time.process_time()
        record(rule, problem, experiment.horizon, posterior)
        found.append(1000 * (time.process_time() - begun) / experiment.horizon)
    return float(np.median(found))


def over_seeds(rows: Sequence[dict[str, Any]], *keys: str) -> str:
    """Mean over training seeds with its standard error; of one row its own, over functions."""
    found = []
    for row in rows:
        for key in keys:
            row = row.get(key, {})
        found.append(row)
    if not all(found):
        return "-"
    values = [one["mean"] if isinstance(one, dict) else one for one in found]
    if len(values) == 1:
        return with_error(values[0], found[0]["sem"] if isinstance(found[0], dict) else None)
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return with_error(float(np.mean(values)), error if error > 1e-9 else None)


def tables(family: str) -> str:
    """Regret by step, and J of every way to stop at each price."""
    result = read(f"search-{family}")
    rows, steps = result["rows"], [str(step) for step in AT[family]]
    methods = dict.fromkeys(row["method"] for row in rows)

    def of(method: str, price: float) -> list[dict[str, Any]]:
        return [row for row in rows if row["method"] == method and row["price"] == price]

    seeds = sum(key.startswith("online") for key in result["training"])
    minutes = np.mean([one["minutes"] for key, one in result["training"].items() if key.startswith("online")])
    head = (
        f"**{family}**: {result['functions']:,} functions, {result['tuning']:,} more for tuning, {seeds} training "
        f"seed{'s' * (seeds > 1)} of {minutes:.0f} minutes. Mean regret after so many queries, ± standard error "
        "(over training seeds where there are several, else over functions)."
    )
    regret = [[name, *(over_seeds(of(name, PRICES[0]), "regret", step) for step in steps)] for name in methods]
    ways = {"budget": "tuned budget", "patience": "tuned patience", "EI <= price": "EI ≤ price", "own": "learned stop"}
    stops = []
    for price in PRICES:
        for name in methods:
            some = of(name, price)
            cells = [
                over_seeds(some, "stops", way, "J") if way != "own" or name.startswith("lstm") else "-" for way in ways
            ]
            way = "own" if name.startswith("lstm") else "EI <= price" if name.startswith("gp") else "budget"
            queries = number(float(np.mean([row["stops"][way]["steps"] for row in some])), 3)
            share = over_seeds(some, "stops", way, "share") if way != "budget" else "-"
            stops.append([f"{price:g}", name, *cells, over_seeds(some, "stops", "oracle", "J"), queries, share])
    cost = ", ".join(f"{name} {number(value, 2)} ms" for name, value in result["milliseconds_a_query"].items())
    columns = ["price", "search", *ways.values(), "hindsight", "queries", "share"]
    return "\n\n".join(
        [
            head,
            table(["search", *(f"@{step}" for step in steps)], regret),
            "J = regret at the stop + price x queries. *Queries* and *share*, of the way from the tuned budget to "
            "hindsight, are of the last stop before it.",
            table(columns, stops),
            "CPU time a query of one function when this was run, with the halting posterior where there is one "
            f"([now](#what-a-query-costs) less): {cost}.",
        ]
    )


def write_tables() -> None:
    text = PAGE.read_text()
    for family in AT:
        before, mark, rest = text.partition(f"<!-- {family} -->\n")
        if mark and (RESULTS / f"search-{family}.json").exists():
            _, end, after = rest.partition(f"<!-- /{family} -->")
            text = f"{before}{mark}{tables(family)}\n{end}{after}"
    write_atomically(PAGE, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "judge", "table"))
    parser.add_argument("family", nargs="?", choices=tuple(AT), default="gp-1d")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unit", choices=tuple(UNITS), default="online")
    parser.add_argument("--functions", type=int, default=1000)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.what == "train":
        train(asked.family, asked.seed, asked.unit, asked.runs)
    elif asked.what == "judge":
        judge(
            asked.family, asked.unit, asked.functions, asked.runs, asked.out or RESULTS / f"search-{asked.family}.json"
        )
    else:
        write_tables()


if __name__ == "__main__":
    main()
