"""The tables of ``benchmarks/search_peers.py``: what its lines say of each search on each family."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from pages import FOLDER, RESULTS, number, table, with_error

from probact.support.files import write_atomically

OUT = RESULTS / "search-peers.jsonl"
PAGE = FOLDER.parent / "docs" / "black-box.md"
PRICES = (0.003, 0.01, 0.03)
HORIZONS = {
    "gp-1d": 20,
    "gp-2d": 30,
    "branin": 30,
    "goldstein-price": 30,
    "hartmann-3": 40,
    "svm": 30,
    "gradient-boosting": 40,
    "hartmann-6": 60,
}
FUNCTIONS = {"gp-1d": 30, "gp-2d": 20}
OTHERS = 100
"""Functions of each of the other families: random shifts and flips, or parts of a table."""
SLOW = {"optuna-gp": 10, "skopt-gp": 10}
"""Searches that are asked about so many functions at most."""


def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in OUT.read_text().splitlines()] if OUT.exists() else []


class Group(NamedTuple):
    """What is known of a method on a family, of its functions 0, 1, ..."""

    regret: np.ndarray  # (functions, H), after 1..H queries
    stops: dict[str, np.ndarray]
    milliseconds: float


def groups() -> dict[str, dict[str, Group]]:
    """Family -> method -> what is known, of the methods that have been asked about all their functions."""
    found: dict[str, dict[str, dict[int, Any]]] = defaultdict(lambda: defaultdict(dict))
    for line in lines():
        found[line["family"]][line["method"]][line["function"]] = line
    return {
        family: {
            name: _group(family, [rows[index] for index in sorted(rows)])
            for name, rows in found[family].items()
            if len(rows) >= min(FUNCTIONS.get(family, OTHERS), SLOW.get(name.partition(" ")[0], OTHERS))
        }
        for family in HORIZONS
        if family in found
    }


def _regret(family: str, falls: list[list[float]]) -> np.ndarray:
    """After 1..H queries, from [steps before it, regret] of each that was better than all before."""
    found = np.empty(HORIZONS[family])
    for start, value in falls:
        found[int(start) :] = value
    return found


def _group(family: str, rows: list[Any]) -> Group:
    prices = rows[0].get("stops", {})
    stops = {price: np.array([row["stops"][price] for row in rows]) for price in prices}
    return Group(
        np.array([_regret(family, row["falls"]) for row in rows]),
        stops,
        float(np.median([row["milliseconds"] for row in rows])),
    )


def tuned(some: dict[str, Group], cost: Callable[[Group], np.ndarray]) -> np.ndarray:
    """Cost of each function, at the setting and the column whose mean over these very functions is smallest."""
    columns = [column for group in some.values() for column in cost(group).T]
    return min(columns, key=lambda column: float(column.mean()))


def budget(group: Group, price: float) -> np.ndarray:
    """J of stopping after 1..H queries, ``(functions, H)``."""
    return group.regret + price * np.arange(1, group.regret.shape[1] + 1)


def own(group: Group, price: float) -> np.ndarray:
    """J at the method's own stop, ``(functions,)``."""
    stops = group.stops[str(price)]
    return group.regret[np.arange(len(stops)), stops - 1] + price * stops


def mean(values: np.ndarray) -> str:
    return with_error(float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5))


OTHER_KINDS = ("branin", "goldstein-price", "hartmann-3", "svm", "gradient-boosting", "hartmann-6")
"""Of no Gaussian process: none of the searches was made for them."""


def _of(methods: dict[str, Group], kind: str) -> dict[str, Group]:
    return {name: group for name, group in methods.items() if name.startswith(kind)}


def summary() -> str:
    """On functions of other kinds: regret after H queries, and J at .01 of own stops and of the best budget of TPE."""
    rows = []
    for family, methods in groups().items():
        ours, tpe = _of(methods, "lstm-search"), _of(methods, "optuna-tpe")
        if family not in OTHER_KINDS or not ours or not tpe or "random-search" not in methods:
            continue
        (name, learned), plain = next(iter(ours.items())), methods["gp-ei"]
        last = [{"random-search": methods["random-search"]}, tpe, {"gp-ei": plain}, ours]
        regret = [mean(tuned(some, lambda group: group.regret[:, -1:])) for some in last]
        stops = [
            mean(tuned(tpe, lambda group: budget(group, 0.01))),
            *(mean(own(one, 0.01)) for one in (plain, learned)),
        ]
        rows.append([family, str(HORIZONS[family]), *regret, *stops, name.removeprefix("lstm-search ")])
    head = ["functions", "H", *(f"{name} @H" for name in ("random", "TPE", "gp-ei", "lstm-search"))]
    return table([*head, "J of TPE's budget", "of gp-ei's stop", "of lstm-search's stop", "which"], rows)


def tables() -> str:
    parts = [f"**In short**, on functions of other kinds, 100 of each, λ = 0.01.\n\n{summary()}"]
    for family, methods in groups().items():
        horizon = HORIZONS[family]
        steps = [step for step in (5, 10, horizon // 2, horizon) if step <= horizon]
        steps = sorted(set(steps))
        kinds: dict[str, dict[str, Group]] = defaultdict(dict)
        for name, group in methods.items():
            head, _, setting = name.rpartition(" ")
            kinds[head if setting.isdigit() else name][name] = group
        rows = []
        for kind, some in kinds.items():
            regret = [mean(tuned(some, lambda group, step=step: group.regret[:, step - 1 : step])) for step in steps]
            budgets = [mean(tuned(some, lambda group, price=price: budget(group, price))) for price in PRICES]
            first = next(iter(some.values()))
            owns = [mean(own(first, price)) if str(price) in first.stops else "-" for price in PRICES]
            times = number(min(group.milliseconds for group in some.values()), 2)
            rows.append(
                [
                    kind,
                    str(len(first.regret)),
                    *regret,
                    *(cell for pair in zip(budgets, owns, strict=True) for cell in pair),
                    times,
                ]
            )
        columns = [f"{way}, λ = {price:g}" for price in PRICES for way in ("budget", "own stop")]
        head = ["search", "functions", *(f"@{step}" for step in steps), *columns, "ms a query"]
        parts.append(f"**{family}**, {horizon} queries.\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def page() -> None:
    text = PAGE.read_text()
    before, mark, rest = text.partition("<!-- peers -->\n")
    if not mark:
        sys.exit(f"Error: {PAGE}: expected the marks <!-- peers --> and <!-- /peers -->, got none")
    _, end, after = rest.partition("<!-- /peers -->")
    write_atomically(PAGE, f"{before}{mark}{tables()}\n{end}{after}")
