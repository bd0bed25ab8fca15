"""Tables of ``docs/computation.md`` of ``parity`` at other nu and of readers of other width; see ``loops.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pages import RESULTS, lines, share, table

NU_RESULT, WIDE_RESULT = RESULTS / "loops-nu.jsonl", RESULTS / "loops-wide.jsonl"
LARGE_RESULT = RESULTS / "loops-large.jsonl"


def spread(rows: Sequence[dict[str, Any]], of: Callable[[dict[str, Any]], float], write: Callable[[float], str]) -> str:
    """Mean ± standard deviation over training seeds."""
    values = [of(row) for row in rows]
    return f"{write(float(np.mean(values)))} ± {write(float(np.std(values, ddof=1))).removesuffix(' %')}"


def recipe(row: dict[str, Any]) -> str:
    """Of a row of ``NU_RESULT``, what was changed beside nu and the KL scale."""
    given = row["settings"]
    if "nu_warmup" in given:
        return f"nu falls from .95 over {given['nu_warmup']} meta-steps"
    if "kl_warmup" in given:
        return f"KL scale rises over {given['kl_warmup']} meta-steps"
    return f"mean log loss added, {given['log_loss_weight']:g}" if "log_loss_weight" in given else "none"


def by_nu() -> str:
    """A row a nu, over the seeds for judging; nothing else changed."""
    plain = [row for row in lines(NU_RESULT) if row["seed"] < 10 and recipe(row) == "none"]
    rows = []
    for nu in sorted({float(row["settings"]["prior_nu"]) for row in plain}):
        of_nu = sorted((row for row in plain if row["settings"]["prior_nu"] == nu), key=lambda row: int(row["seed"]))
        rows.append(
            [
                f"{nu:g}",
                f"{1 / (1 - nu):.1f}",
                f"{of_nu[0]['price']:.4f}",
                ", ".join(str(row["meta_steps"]) for row in of_nu),
                spread(of_nu, lambda row: row["own"]["accuracy"], share),
                ", ".join(share(row["own"]["accuracy"]) for row in of_nu),
                spread(of_nu, lambda row: row["own"]["steps"], lambda value: f"{value:.2f}"),
                spread(of_nu, lambda row: row["own"]["rank_correlation"], lambda value: f"{value:.2f}"),
            ]
        )
    head = ["nu", "prior mean of t", "price of a step, nats", "meta-steps", "accuracy", "by seed", "steps",
            "rank correlation"]  # fmt: skip
    return table(head, rows)


def nu_tuning() -> str:
    """What was tried where a training got stuck, a row a recipe."""
    tried: dict[tuple[bool, str], list[dict[str, Any]]] = {}
    for row in lines(NU_RESULT):
        if row["settings"]["prior_nu"] == 0.5:
            tried.setdefault((recipe(row) != "none", recipe(row)), []).append(row)
    rows = []
    for (_, changed), found in sorted(tried.items()):
        found = sorted(found, key=lambda row: int(row["seed"]))
        rows.append(
            [
                changed,
                ", ".join(str(row["seed"]) for row in found),
                ", ".join(str(row["meta_steps"]) for row in found),
                ", ".join(share(row["own"]["accuracy"]) for row in found),
                ", ".join(f"{row['own']['steps']:.2f}" for row in found),
            ]
        )
    return table(["changed", "seeds", "meta-steps", "accuracy", "steps"], rows)


def width(row: dict[str, Any]) -> int:
    """Units of a reader of ``WIDE_RESULT``."""
    return int(row["settings"]["rule_options"]["hidden_size"])


def head_of(row: dict[str, Any]) -> str:
    """Units of its halting posterior, and whether it was trained beside a network that was kept."""
    given = row["settings"]
    return f"{given.get('head_units', 32)}{', network kept' if given.get('freeze_rule') else ''}"


def wide() -> str:
    """What was tried for wider readers."""
    tried = [row for row in lines(WIDE_RESULT) if row["seed"] >= 10]
    rows = [
        [
            str(width(row)),
            head_of(row),
            f"{row['settings']['lr']:g}",
            str(row["settings"].get("curriculum", 200)),
            str(row["seed"]),
            str(row["meta_steps"]),
            f"{row['seconds'] / 60:.1f}",
            share(row["own"]["accuracy"]),
            f"{row['own']['steps']:.2f}",
        ]
        for row in sorted(tried, key=lambda row: (width(row), row["settings"]["lr"], row["meta_steps"]))
    ]
    head = ["units", "units of halting", "learning rate", "unrolls grow over", "seed", "meta-steps",
            "minutes of training", "accuracy at the stop", "steps"]  # fmt: skip
    return table(head, rows)


def speed() -> str:
    """Of the width that is recommended, and of the wider reader that was judged."""
    judged = [row for row in lines(WIDE_RESULT) if row["seed"] < 10]
    rows = []
    for row in sorted(judged, key=lambda row: (width(row), head_of(row), -row["settings"]["meta_steps"], row["seed"])):
        time = row["time"]
        seconds = {way: float(np.median(values)) for way, values in time["seconds"].items()}
        steps = time["steps_computed"]
        cells = [str(width(row)), head_of(row), str(row["seed"]), str(row["meta_steps"]), share(row["own"]["accuracy"])]
        cells.append(f"{seconds['stopped']:.2f}")
        for way, label in (("fixed", f"K = {time['fixed']}"), ("all", "H = 20")):
            saved = [f"{1 - of['stopped'] / of[way]:.0%}" for of in (seconds, steps)]
            cells += [f"{label}: {seconds[way]:.2f}", " of ".join(saved)]
        rows.append(cells)
    head = ["units of the reader", "units of halting", "seed", "meta-steps", "accuracy", "seconds, each stopped",
            "as accurate, for all", "time saved of steps saved", "the cap, for all",
            "time saved of steps saved"]  # fmt: skip
    return table(head, rows)
