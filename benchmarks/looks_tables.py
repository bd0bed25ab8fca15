"""What looks, recall and a range of prices are worth, as tables: from ``benchmarks/results/looks-*.json``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pages import RESULTS, number, read, table, with_error

OWN = ("J", "share", "rank_correlation", "steps_sd")


def _over_seeds(values: Sequence[float]) -> str:
    return with_error(float(np.mean(values)), float(np.std(values, ddof=1)) / len(values) ** 0.5)


def _measured(name: str) -> list[list[str]]:
    rows = []
    for way, found in read(f"looks-{name}")["ways"].items():
        seeds = found["by_seed"]
        own = {key: _over_seeds([one["own"][key] for one in seeds]) for key in OWN}
        budget, oracle = seeds[0]["budget"], seeds[0]["oracle"]
        best = [number(oracle[key]) for key in ("J", "steps_sd")]
        rows.append([name, way, own["J"], number(budget["J"]), best[0], *(own[key] for key in OWN[1:]), best[1]])
    return rows


def section() -> str:
    """Both tables."""
    there = [name for name in ("digits-mixed", "mnist", "mixed", "logistic-mixed") if _exists(name)]
    head = [
        "family",
        "the head sees",
        "J",
        "best budget",
        "oracle",
        "share",
        "rank corr.",
        "sd of steps",
        "of the oracle's",
    ]
    parts = [
        "`python benchmarks/looks.py digits-mixed mnist mixed logistic-mixed`: the own stop, of a head that sees what "
        "the rule descends (steps), x as well (looks), and one whose stop returns the best look. Heads are trained on "
        "paths that are made once; the best budget returns the best look where the head's stop does.",
        table(head, [row for name in there for row in _measured(name)]),
    ]
    if _exists("prices"):
        parts += [
            "`python benchmarks/looks.py prices`: one head for prices over three orders of magnitude beside a head for "
            "each, on `mixed` under L-BFGS. Lost: the difference of J as a share of the loss at the start less J of the"
            " best step in hindsight, and of the best budget less it.",
            table(
                ["price", "J, one head for all", "J, a head for it", "best budget", "oracle", "lost", "of budget's"],
                _prices(),
            ),
        ]
    return "\n\n".join(parts)


def _exists(name: str) -> bool:
    return (RESULTS / f"looks-{name}.json").exists()


def _prices() -> list[list[str]]:
    rows = []
    for at in zip(*read("looks-prices")["by_seed"], strict=True):
        shared, alone = ([one[which]["own"]["J"] for one in at] for which in ("for all", "for this price"))
        budget, oracle = (at[0]["for this price"][kind]["J"] for kind in ("budget", "oracle"))
        of_budget = [(one - own) / (budget - oracle) for one, own in zip(shared, alone, strict=True)]
        lost = _over_seeds([one["share_lost"] for one in at])
        J = [_over_seeds(shared), _over_seeds(alone), number(budget), number(oracle)]
        rows.append([number(at[0]["price"]), *J, lost, _over_seeds(of_budget)])
    return rows
