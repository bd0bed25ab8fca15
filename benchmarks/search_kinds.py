"""On which kinds of functions a search stops too late, and whether it then expects more than there is to gain.

    python benchmarks/search_kinds.py                      # writes benchmarks/results/search-kinds.json
    python benchmarks/search_kinds.py --page               # writes what was found into docs/black-box.md

``gp-2d`` as it ships, with its own stop, on smooth and rough draws of its own kind, and on functions of others.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch
from pages import FOLDER, RESULTS, fill, number, read, table
from search import in_unit

from probact.judging.problem_sets import held_out_problems
from probact.judging.stops import oracle, stop_by, stopped_cost
from probact.judging.trajectory import record
from probact.problems.black_box import Regret
from probact.runs.experiment import Experiment
from probact.runs.trained import TrainedOptimizer
from probact.support.files import write_atomically

OUT = RESULTS / "search-kinds.json"
PRICES = (0.01, 0.03)
HORIZON, FUNCTIONS, EARLY = 30, 100, 5
KINDS: dict[str, tuple[str, dict[str, str]]] = {
    **{f"gp-2d, length-scale {length}": ("gp-2d", {"length": length}) for length in ("0.15", "0.3", "0.6", "1.2")},
    "goldstein-price": ("goldstein-price", {}),
    "branin": ("branin", {}),
    "svm": ("svm", {}),
}


def judged(trained: TrainedOptimizer, kind: str, price: float) -> dict[str, Any]:
    family, options = KINDS[kind]
    experiment = Experiment.create(family=family, family_options=options, rule="gp-ei", horizon=HORIZON, price=price)
    problems, cost = held_out_problems(experiment, FUNCTIONS), experiment.step_cost
    assert isinstance(problems, Regret)
    assert trained.stop is not None
    path = record(trained.rule, problems, HORIZON, trained.online_posterior)
    own, best = stop_by(trained.stop, path, cost), oracle(path, cost)
    budgets = torch.stack([stopped_cost(path, torch.full_like(best, step), cost) for step in range(1, HORIZON + 1)])
    of_budgets = in_unit(budgets, problems).mean(1)
    expected = path.known[EARLY - 1].expected
    assert expected is not None
    return {
        "kind": kind,
        "price": price,
        "J": float(in_unit(own.J, problems).mean()),
        "queries": float(own.stop.double().mean()),
        "J_of_best_budget": float(of_budgets.min()),
        "best_budget": int(of_budgets.argmin()) + 1,
        "J_in_hindsight": float(in_unit(stopped_cost(path, best, cost), problems).mean()),
        "regret_early": float(in_unit(path.nll, problems)[EARLY].median()),
        "expected_early": float((expected * problems.scale.double()).median()),
    }


def write_page() -> None:
    path = FOLDER.parent / "docs" / "black-box.md"
    rows = [
        [
            one["kind"],
            f"{one['price']:g}",
            number(one["J"]),
            number(one["queries"], 3),
            number(one["J_of_best_budget"]),
            str(one["best_budget"]),
            number(one["J_in_hindsight"]),
            number(one["regret_early"], 2),
            number(one["expected_early"], 2),
        ]
        for one in read("search-kinds")["rows"]
    ]
    columns = ["functions", "price", "J, own stop", "queries", "J, best budget", "queries", "J, hindsight"]
    columns += [f"regret after {EARLY}", "expected gain"]
    fill(path, {"kinds": table(columns, rows)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="write the last result into docs/black-box.md")
    if parser.parse_args().page:
        write_page()
        return
    trained = TrainedOptimizer.load_named("gp-2d")
    rows = [judged(trained, kind, price) for price in PRICES for kind in KINDS]
    write_atomically(OUT, json.dumps({"functions": FUNCTIONS, "horizon": HORIZON, "rows": rows}, indent=1) + "\n")
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
