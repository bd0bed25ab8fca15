"""Tables and the figure of ``docs/computation.md``, from ``benchmarks/results/loops-*.json``; see ``loops.py``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pages import FOLDER, RESULTS, number, read, table

from probact.reports.style import headed, ink, panels, save_figure, series, styled

PAGE = FOLDER.parent / "docs" / "computation.md"
FIGURE = FOLDER.parent / "docs" / "images" / "steps_by_nonzeros.png"
EXTRAPOLATED, LARGE = "n = 16, 9 to 16 non-zeros", "n = 64, 1 to 64 non-zeros"
LABELS = {
    "half": "this, kappa .1, nu .95",
    "pondernet": "PonderNet: beta .01, lambda .2",
    "act": "ACT, tau .01",
    "act-tuning-0.01": "ACT, tau .01",
    "act-tuning-0.001": "ACT, tau .001",
}


def seeds(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read(f"loops-{name}")["seeds"] if (RESULTS / f"loops-{name}.json").exists() else []
    return found


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


def extrapolation() -> str:
    """A row a way to train, means over seeds."""
    rows = []
    for name, label in LABELS.items():
        found = seeds(name)
        if not found:
            continue
        cells = [label, ", ".join(str(row["seed"]) for row in found)]
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


def by_nu() -> str:
    rows = []
    for name in ("nu-0.5", "nu-0.7", "nu-0.8", "nu-0.9", "nu-0.95", "nu-0.95-longer"):
        nu = float(name.split("-")[1])
        for row in seeds(name):
            own = row["own"]
            rows.append(
                [
                    f"{nu:g}",
                    str(row["meta_steps"]),
                    f"{1 / (1 - nu):.1f}",
                    f"{row['price']:.4f}",
                    share(own["accuracy"]),
                    f"{own['steps']:.2f} ± {own['steps_sd']:.1f}",
                    f"{own['rank_correlation']:.2f}",
                ]
            )
    return table(
        ["nu", "meta-steps", "prior mean of t", "price of a step, nats", "accuracy", "steps", "rank correlation"], rows
    )


def speed() -> str:
    rows = []
    for row in seeds("parity"):
        time = row["time"]
        seconds = {way: float(np.median(values)) for way, values in time["seconds"].items()}
        steps = time["steps_computed"]
        for way, label in (("fixed", f"K = {time['fixed']}, as accurate"), ("all", "H = 20, the cap")):
            rows.append(
                [
                    str(row["seed"]),
                    label,
                    f"{seconds['stopped']:.2f}",
                    f"{seconds[way]:.2f}",
                    f"{1 - seconds['stopped'] / seconds[way]:.0%}",
                    f"{1 - steps['stopped'] / steps[way]:.0%}",
                ]
            )
    head = ["seed", "against", "seconds, each stopped", "seconds, the same for all", "time saved", "steps saved"]
    return table(head, rows)


TABLES = {"accuracy": accuracy, "extrapolation": extrapolation, "evidence": evidence, "nu": by_nu, "speed": speed}


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
