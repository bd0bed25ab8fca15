"""Tables and the figure of ``docs/computation.md``, from ``benchmarks/results/loops-*.json``; see ``loops.py``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pages import FOLDER, RESULTS, number, read, table

from probact.reports.style import headed, ink, panels, save_figure, series, styled

PAGE = FOLDER.parent / "docs" / "computation.md"
FIGURE = FOLDER.parent / "docs" / "images" / "steps_by_nonzeros.png"
NU_RESULT, WIDE_RESULT, RIVALS_RESULT = (RESULTS / f"loops-{name}.jsonl" for name in ("nu", "wide", "rivals"))
EXTRAPOLATED, LARGE = "n = 16, 9 to 16 non-zeros", "n = 64, 1 to 64 non-zeros"
LABELS = {"half": "this, as `parity` recommends", "pondernet-b": "PonderNet", "act-g": "ACT"}


def seeds(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read(f"loops-{name}")["seeds"] if (RESULTS / f"loops-{name}.json").exists() else []
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    """What has been measured, a row a line; none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def share(value: float) -> str:
    return f"{100 * value:.2f} %"


def mean(rows: Sequence[dict[str, Any]], of: Callable[[dict[str, Any]], float]) -> float:
    return float(np.mean([of(row) for row in rows]))


def accuracy() -> str:
    """A row a seed: accuracy, steps, and the budget as good."""
    rows = []
    for name, which in (("parity", "own"), ("parity", LARGE), ("gru-loop", "own"), ("addition", "own")):
        for row in seeds(name):
            if which not in row:
                continue
            one, fixed = row[which], row[which]["fixed_steps"]
            size = {"own": {"addition": "addition"}.get(name, "n = 16"), LARGE: "n = 64, not trained on"}[which]
            rows.append(
                [
                    f"{'gru-reader' if name != 'gru-loop' else name}, {size}",
                    str(row["seed"]),
                    share(one["accuracy"]),
                    f"{one['steps']:.2f} ± {one['steps_sd']:.1f}",
                    "none" if fixed is None else str(fixed),
                    share(max(one["accuracy_by_step"])),
                    number(one["calibration_error"], 2),
                    f"{one['rank_correlation']:.2f}",
                    f"{row['seconds'] / 60:.1f}",
                ]
            )
    head = ["rule, problems", "seed", "accuracy at the stop", "steps (± sd over problems)", "K for all, as accurate",
            "best accuracy of any K", "calibration error", "rank correlation of steps with non-zeros",
            "minutes of training"]  # fmt: skip
    return table(head, rows)


def constants(name: str) -> str:
    """Of a rival, which were chosen."""
    given = read(f"loops-{name}")["settings"]
    if name.startswith("pondernet"):
        return f": beta {given.get('kl_scale', 0.1):g}, lambda {1 - given['prior_nu']:.1f}"
    if name.startswith("act"):
        return f": tau {given['ponder_cost']:g}, from PonderNet's network"
    return ""


def recipes() -> str:
    """What was tried for the rivals, a row a recipe."""
    rows = []
    for row in lines(RIVALS_RESULT):
        given = row["settings"]
        is_act = "ponder_cost" in given
        what = (
            f"ACT, tau {given['ponder_cost']:g}"
            if is_act
            else (f"PonderNet, beta {given['kl_scale']:g}, lambda {1 - given['prior_nu']:.1f}")
        )
        grown = given.get("curriculum", 200)
        how = [f"unrolls grow over {grown} meta-steps" if grown else "all unrolls of 20 steps"]
        how += [f"mean log loss added, {given['log_loss_weight']:g}"] if "log_loss_weight" in given else []
        how += ["begins with PonderNet's network"] if "begin_with" in given else []
        rows.append(
            [
                what,
                "; ".join(how),
                str(row["seed"]),
                str(row["meta_steps"]),
                share(row["own"]["accuracy"]),
                f"{row['own']['steps']:.2f}",
                share(row["far"]["accuracy"]),
            ]
        )
    return table(["rival", "recipe", "seed", "meta-steps", "accuracy, 1 to 8", "steps", "accuracy, 9 to 16"], rows)


def extrapolation() -> str:
    """A row a way to train, means over seeds."""
    rows = []
    for name, label in LABELS.items():
        found = seeds(name)
        if not found:
            continue
        cells = [label + constants(name), ", ".join(str(row["seed"]) for row in found)]
        for which in ("own", EXTRAPOLATED):
            cells += [
                share(mean(found, lambda row, which=which: row[which]["accuracy"])),  # type: ignore[misc]
                f"{mean(found, lambda row, which=which: row[which]['steps']):.2f}",  # type: ignore[misc]
            ]
        cells.append(", ".join(share(row[EXTRAPOLATED]["accuracy"]) for row in found))
        rows.append(cells)
    head = [
        "trained on 1 to 8 non-zeros",
        "seeds",
        "accuracy, 1 to 8",
        "steps",
        "accuracy, 9 to 16",
        "steps",
        "by seed",
    ]
    return table(head, rows)


def evidence() -> str:
    rows = [
        [
            str(row["seed"]),
            *(f"{row['evidence'][key]:.3f}" for key in ("log_evidence", "elbo", "amortisation_gap", "horizon_gap")),
        ]
        for row in seeds("parity")
    ]
    return table(["seed", "log p(x)", "ELBO", "amortisation gap", "horizon gap"], rows)


def spread(rows: Sequence[dict[str, Any]], of: Callable[[dict[str, Any]], float], write: Callable[[float], str]) -> str:
    """Mean ± standard deviation over training seeds."""
    values = [of(row) for row in rows]
    return f"{write(float(np.mean(values)))} ± {write(float(np.std(values, ddof=1))).removesuffix(' %')}"


def recipe(row: dict[str, Any]) -> str:
    """Of a row of ``NU_RESULT``, what was changed beside nu and the KL scale."""
    given = row["settings"]
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


def wide() -> str:
    """What was tried for wider readers, and what was judged."""
    rows = [
        [
            f"{width(row)} units, learning rate {row['settings']['lr']:g}",
            str(row["seed"]),
            str(row["meta_steps"]),
            f"{row['seconds'] / 60:.1f}",
            share(row["own"]["accuracy"]),
            f"{row['own']['steps']:.2f}",
        ]
        for row in lines(WIDE_RESULT)
    ]
    return table(["reader", "seed", "meta-steps", "minutes of training", "accuracy at the stop", "steps"], rows)


def speed() -> str:
    """Of what is recommended, and of the wider reader that was judged."""
    judged = [row for row in lines(WIDE_RESULT) if row["seed"] < 10]
    rows = []
    for units, row in [(24, row) for row in seeds("parity")] + [(width(row), row) for row in judged]:
        time = row["time"]
        seconds = {way: float(np.median(values)) for way, values in time["seconds"].items()}
        steps = time["steps_computed"]
        for way, label in (("fixed", f"K = {time['fixed']}, as accurate"), ("all", "H = 20, the cap")):
            rows.append(
                [
                    str(units),
                    str(row["seed"]),
                    share(row["own"]["accuracy"]),
                    label,
                    f"{seconds['stopped']:.2f}",
                    f"{seconds[way]:.2f}",
                    f"{1 - seconds['stopped'] / seconds[way]:.0%}",
                    f"{1 - steps['stopped'] / steps[way]:.0%}",
                ]
            )
    head = ["units of the reader", "seed", "accuracy", "against", "seconds, each stopped", "seconds, the same for all",
            "time saved", "steps saved"]  # fmt: skip
    return table(head, rows)


TABLES = {
    "accuracy": accuracy,
    "extrapolation": extrapolation,
    "recipes": recipes,
    "evidence": evidence,
    "nu": by_nu,
    "nu-tuning": nu_tuning,
    "speed": speed,
}


def draw() -> None:
    """Mean steps, and their spread, against the number of non-zeros."""
    with styled():
        figure, grid = panels(1, 1, 4.0, width=6.5)
        axes = grid[0, 0]
        for place, row in enumerate(seeds("parity")):
            color = series(place)
            by_count = row["own"]["by_count"]
            count = np.array([int(key) for key in by_count])
            steps, spread, _ = np.array(list(by_count.values())).T
            axes.plot(count, steps, marker="o", markersize=4, color=color, label=f"training seed {row['seed']}")
            axes.fill_between(count, steps - spread, steps + spread, alpha=0.12, color=color, lw=0)
        axes.plot([1, 16], [1, 16], color=ink(), alpha=0.5, linestyle=":", label="one step an entry")
        axes.set(xlabel="number of entries that are not 0", ylabel="own stop, mean ± sd (steps)")
        axes.legend(loc="upper left")
        headed(figure, "The more there is to read, the later it stops", "parity, n = 16, 4,096 held-out vectors")
        save_figure(figure, FIGURE)


def write_page() -> None:
    """Fill what is between the marks of ``PAGE``."""
    text = PAGE.read_text()
    for mark, made in TABLES.items():
        before, begin, rest = text.partition(f"<!-- {mark} -->\n")
        _, end, after = rest.partition(f"<!-- /{mark} -->\n")
        if not begin or not end:
            sys.exit(f"Error: {PAGE}: expected the marks <!-- {mark} --> and <!-- /{mark} -->")
        text = f"{before}{begin}{made()}\n{end}{after}"
    PAGE.write_text(text)
    draw()
