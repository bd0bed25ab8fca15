"""Functions of the set of Xie et al. 2025 (arXiv 2507.12453) in one variable, on which no network was trained.

    python benchmarks/search_matern.py --functions 600     # writes benchmarks/results/search-matern.json
    python benchmarks/search_matern.py --page              # writes what was found into docs/black-box.md

Their kernel is Matern's of 5/2 with length-scale .1, their prices .1, .01 and .001 of a query; costs are uniform here.
``gp-1d`` was trained on smooth functions, at prices of .003 to .034.  Its stop is judged as it ships and as it is tuned
on 500 other functions of this set, as budget and patience are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from pages import FOLDER, RESULTS, fill, number, read, table, with_error
from search import in_unit, sets, spread_of

from probact.judging.stops import Verdict, stop_by, verdicts
from probact.judging.trajectory import Trajectory, record
from probact.problems.black_box import Regret
from probact.rules.base import RULES, UpdateRule
from probact.runs.experiment import Experiment
from probact.runs.trained import TrainedOptimizer
from probact.stopping.base import StopRule
from probact.stopping.rules import ExpectedImprovement
from probact.support.files import write_atomically

OUT = RESULTS / "search-matern.json"
PRICES = (0.001, 0.01, 0.1)
HORIZON = 40
OPTIONS = {"kernel": "matern52", "length": "0.1"}
SEARCHES: dict[str, dict[str, Any]] = {
    "gp-ei, kernel and length known": {"length": "known", "kernel": "matern52"},
    "gp-ei, lengths mixed, matern52": {"length": "mixed", "kernel": "matern52"},
    "gp-ei, lengths mixed, rbf": {"length": "mixed"},
}
LEARNED = "gp-1d, as shipped"
WAYS = {
    "budget": "tuned budget",
    "patience": "tuned patience",
    "EI <= price": "EI ≤ price",
    "shipped": "learned stop, as shipped",
    "tuned": "the same, tuned here",
    "oracle": "hindsight",
}


def row(name: str, price: float, found: Sequence[Verdict], problems: Regret, regret: dict[str, Any]) -> dict[str, Any]:
    ways = {
        one.kind: {"J": spread_of(in_unit(one.J, problems)), "queries": float(one.stop.double().mean())}
        for one in found
        if one.kind in WAYS
    }
    return {"search": name, "price": price, "regret": regret, "stops": ways}


def judged(
    name: str, price: float, paths: Sequence[Trajectory], problems: Regret, cost: float, own: StopRule | None
) -> dict[str, Any]:
    """One search at one price; ``own``: the stop that it ships with."""
    test, tuning = paths
    found = verdicts(test, tuning, cost)
    if test.known[0].expected is not None:
        found.append(stop_by(ExpectedImprovement.of_price(cost), test, cost)._replace(kind="EI <= price"))
    if own is not None:
        tuned = next(one for one in found if one.kind == own.name)
        found += [stop_by(own, test, cost)._replace(kind="shipped"), tuned._replace(kind="tuned")]
    regret = in_unit(test.nll, problems)
    return row(name, price, found, problems, {str(step): spread_of(regret[step]) for step in (5, 10, 20, HORIZON)})


def judge(num: int) -> None:
    trained = TrainedOptimizer.load_named("gp-1d")
    rules: dict[str, UpdateRule] = {"random-search": RULES.build("random-search")}
    rules |= {name: RULES.build("gp-ei", options) for name, options in SEARCHES.items()}
    rows = []
    for price in PRICES:
        experiment = Experiment.create(family="gp-1d", family_options=OPTIONS, price=price, horizon=HORIZON)
        test, tuning = sets(experiment, num)
        assert isinstance(test, Regret)
        for name, rule in {**rules, LEARNED: trained.rule}.items():
            posterior, own = (trained.online_posterior, trained.stop) if name == LEARNED else (None, None)
            paths = [record(rule, problems, HORIZON, posterior) for problems in (test, tuning)]
            rows.append(judged(name, price, paths, test, experiment.step_cost, own))
        print(f"price {price}: judged", flush=True)
    result = {"functions": num, "tuning": num // 2, "horizon": HORIZON, "options": OPTIONS, "rows": rows}
    write_atomically(OUT, json.dumps(result, indent=1) + "\n")


def tables() -> str:
    result = read("search-matern")
    steps = list(result["rows"][0]["regret"])
    regret = [
        [one["search"], *(with_error(**_pair(one["regret"][step])) for step in steps)]
        for one in result["rows"]
        if one["price"] == PRICES[0]
    ]
    stops = []
    for one in result["rows"]:
        cells = [with_error(**_pair(one["stops"][way]["J"])) if way in one["stops"] else "-" for way in WAYS]
        queries = [number(one["stops"][way]["queries"], 3) if way in one["stops"] else "-" for way in QUERIES]
        stops.append([f"{one['price']:g}", one["search"], *cells, " / ".join(queries)])
    columns = ["price", "search", *WAYS.values(), f"queries ({' / '.join(QUERIES.values())})"]
    return "\n\n".join([table(["search", *(f"@{step}" for step in steps)], regret), table(columns, stops)])


QUERIES = {"EI <= price": "EI", "shipped": "learned", "oracle": "hindsight"}


def _pair(values: dict[str, float]) -> dict[str, float]:
    return {"value": values["mean"], "error": values["sem"]}


def write_page() -> None:
    path = FOLDER.parent / "docs" / "black-box.md"
    fill(path, {"matern": tables()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--functions", type=int, default=1000)
    parser.add_argument("--page", action="store_true", help="write the last result into docs/black-box.md")
    asked = parser.parse_args()
    if asked.page:
        write_page()
    else:
        judge(asked.functions)


if __name__ == "__main__":
    main()
