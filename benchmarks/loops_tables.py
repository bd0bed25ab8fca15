"""Tables and the figure of ``docs/computation.md``, from ``benchmarks/results/loops-*.json``; see ``loops.py``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from loops_variants import LARGE_RESULT, by_nu, nu_tuning, speed, wide
from pages import FOLDER, RESULTS, lines, number, read, share, table

from probact.reports.style import headed, ink, panels, save_figure, series, styled

PAGE = FOLDER.parent / "docs" / "computation.md"
FIGURE = FOLDER.parent / "docs" / "images" / "steps_by_nonzeros.png"
RIVALS_RESULT = RESULTS / "loops-rivals.jsonl"
EXTRAPOLATED, LARGE = "n = 16, 9 to 16 non-zeros", "n = 64, 1 to 64 non-zeros"
LABELS = {"half": "this, as `parity` recommends", "pondernet-b": "PonderNet", "act-g": "ACT"}


def seeds(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read(f"loops-{name}")["seeds"] if (RESULTS / f"loops-{name}.json").exists() else []
    return found


def mean(rows: Sequence[dict[str, Any]], of: Callable[[dict[str, Any]], float]) -> float:
    return float(np.mean([of(row) for row in rows]))


def judged(label: str, row: dict[str, Any], one: dict[str, Any]) -> list[str]:
    """Cells of ``accuracy``: of a training how it did on some problems."""
    fixed = one["fixed_steps"]
    return [
        label,
        str(row["seed"]),
        share(one["accuracy"]),
        f"{one['steps']:.2f} ± {one['steps_sd']:.1f}",
        "none" if fixed is None else str(fixed),
        share(max(one["accuracy_by_step"])),
        number(one["calibration_error"], 2),
        "-" if np.isnan(one["rank_correlation"]) else f"{one['rank_correlation']:.2f}",
        f"{row['seconds'] / 60:.1f}",
    ]


def accuracy() -> str:
    """A row a seed: accuracy, steps, and the budget as good."""
    shown = [
        ("gru-reader, n = 16", "own", seeds("parity")),
        ("gru-reader, n = 64, not trained on", LARGE, seeds("parity")),
        (
            "gru-reader, n = 64, trained on from n = 16",
            "own",
            sorted(lines(LARGE_RESULT), key=lambda row: int(row["seed"])),
        ),
        ("gru-loop, n = 16", "own", seeds("gru-loop")),
        ("gru-reader, addition", "own", seeds("addition")),
    ]
    rows = [judged(label, row, row[which]) for label, which, some in shown for row in some]
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


TABLES = {
    "accuracy": accuracy,
    "extrapolation": extrapolation,
    "recipes": recipes,
    "evidence": evidence,
    "nu": by_nu,
    "nu-tuning": nu_tuning,
    "speed": speed,
    "wide": wide,
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
