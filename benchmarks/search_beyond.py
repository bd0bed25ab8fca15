"""Twice as many queries as a search was trained on: is it still right, and surer to stop?

    python benchmarks/search_beyond.py                     # the searches that ship
    python benchmarks/search_beyond.py gp-6d=RUN           # a run's, in place of the one of that name
    python benchmarks/search_beyond.py --page              # writes what was found into docs/black-box.md

Writes ``benchmarks/results/search-beyond.json``: the hazard of the halting posterior after H and after 2 H queries of
held-out functions at three prices, and whether the regret of what is returned ever rises.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch
from pages import FOLDER, RESULTS, fill, number, read, table
from search import AT, PRICES, experiment_of

from probact.judging.problem_sets import held_out_problems
from probact.judging.trajectory import record
from probact.runs.sources import best_of
from probact.runs.trained import TrainedOptimizer
from probact.support.files import write_atomically

OUT = RESULTS / "search-beyond.json"
FUNCTIONS = {"gp-1d": 200, "gp-2d": 100, "gp-6d": 40}


def beyond(family: str, trained: TrainedOptimizer, price: float) -> dict[str, Any]:
    """Of one search at one price."""
    experiment = experiment_of(family, price)
    horizon = experiment.horizon
    path = record(trained.rule, held_out_problems(experiment, FUNCTIONS[family]), 2 * horizon, trained.online_posterior)
    hazards = [known.hazard for known in path.known]
    at_h, at_2h = hazards[horizon - 1], hazards[2 * horizon - 1]
    assert at_h is not None
    assert at_2h is not None
    at_least = trained.stop.threshold if trained.stop is not None else torch.nan
    return {
        "family": family,
        "price": price,
        "functions": len(at_h),
        "horizon": horizon,
        "hazard_at_H": float(at_h.mean()),
        "hazard_at_2H": float(at_2h.mean()),
        "share_no_less_sure": float((at_2h >= at_h).double().mean()),
        "would_stop_at_H": float((at_h >= at_least).double().mean()),
        "would_stop_at_2H": float((at_2h >= at_least).double().mean()),
        "largest_rise_of_regret": float(path.nll[1:].diff(dim=0).max().clamp_min(0)),
    }


def write_page() -> None:
    path = FOLDER.parent / "docs" / "black-box.md"
    rows = [
        [
            row["family"],
            f"{row['price']:g}",
            *(number(row[f"hazard_at_{step}"], 2) for step in ("H", "2H")),
            *(number(100 * row[f"would_stop_at_{step}"], 3) + " %" for step in ("H", "2H")),
            "no" if row["largest_rise_of_regret"] == 0 else number(row["largest_rise_of_regret"], 2),
        ]
        for row in read("search-beyond")["rows"]
    ]
    columns = ["search", "price", "hazard at H", "at 2 H", "would stop at H", "at 2 H", "regret rises"]
    fill(path, {"beyond": table(columns, rows)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("searches", nargs="*", metavar="FAMILY[=RUN]")
    parser.add_argument("--page", action="store_true", help="write the last result into docs/black-box.md")
    asked = parser.parse_args()
    if asked.page:
        write_page()
        return
    rows = json.loads(OUT.read_text())["rows"] if OUT.exists() else []
    for family, _, source in (word.partition("=") for word in asked.searches or AT):
        trained = best_of(source or family)
        rows = [row for row in rows if row["family"] != family]
        for price in PRICES:
            rows.append(beyond(family, trained, price))
            print(rows[-1], flush=True)
    rows.sort(key=lambda row: (list(AT).index(row["family"]), row["price"]))
    write_atomically(OUT, json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
