"""Tables of the README and of two pages: the first run's, from ``results/main-*.json``, and the shipped optimizers'.

python benchmarks/learned_tables.py    # writes what is between the `main`, `unseen`, `harm` and `learned` marks
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from pages import RESULTS, fill, number, read, table
from unseen_page import against_recipes, harm

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"README.md": ("main",), "docs/benchmarks.md": ("main",), "docs/shipped.md": ("unseen", "harm", "learned")}
"""Page: the marks between which its tables are written."""

STEPS = ("10", "20", "50", "100", "200", "500")
ORDER = (
    "quadratic", "regression", "student-t", "digits", "mnist", "mnist-20-20", "fashion-mnist", "cifar10",
    "breast-cancer", "digits-autoencoder", "digits-40-40-relu",
)  # fmt: skip
EXACT = {"quadratic", "regression", "student-t", "breast-cancer"}
HELD_OUT = {*ORDER[6:]}


def problems() -> dict[str, dict[str, Any]]:
    return {name: read(f"learned-{name}") for name in ORDER if (RESULTS / f"learned-{name}.json").exists()}


def best_baseline(result: dict[str, Any], step: str) -> tuple[float, str]:
    return min((row["loss"][step]["mean"], name) for name, row in result["baselines"].items())


def cell(entry: dict[str, float], best: float | None = None) -> str:
    mean, sem = entry["mean"], entry["sem"]
    text = number(mean) + (f" ± {sem:.1g}" if sem > 1e-9 * abs(mean) else "")
    return f"**{text}**" if best is not None and (mean <= best or number(mean) == number(best)) else text


def rows(name: str, result: dict[str, Any]) -> list[list[str]]:
    best = {step: best_baseline(result, step) for step in STEPS}
    title = name + (" (held out)" if name in HELD_OUT else "")
    found = [[title, "best tuned of each step", *(f"{number(loss, 4)} {rule}" for loss, rule in best.values())]]
    own = "subspace-regression" if name in EXACT else "subspace-mlp"
    shown = {
        learned: result["learned"][learned] for learned in (own, "subspace-general") if learned in result["learned"]
    }
    found += [
        ["", learned, *(cell(row["loss"][step], best[step][0]) for step in STEPS)] for learned, row in shown.items()
    ]
    return found


def readme() -> str:
    head = ["problem", "optimizer", *(f"@{step}" for step in STEPS)]
    return table(head, [row for name, result in problems().items() for row in rows(name, result)])


def accuracies() -> str:
    found = []
    for name, result in problems().items():
        entries = {**result["baselines"], **result["learned"]}
        of_step = {step: {n: row["accuracy"][step]["mean"] for n, row in entries.items()} for step in STEPS}
        if any(value != value for value in of_step["100"].values()):
            continue
        best = {s: max((v[n], n) for n in result["baselines"]) for s, v in of_step.items()}
        found.append([name, "best tuned of each step", *(f"{value:.1%} {rule}" for value, rule in best.values())])
        found += [["", n, *(f"{of_step[step][n]:.1%}" for step in STEPS)] for n in result["learned"]]
    return table(["problem", "optimizer", *(f"@{step}" for step in STEPS)], found)


def every_baseline() -> str:
    parts = []
    for name, result in problems().items():
        entries = {**result["learned"], **result["baselines"]}
        body = [
            [n, *(cell(row["loss"][step]) for step in STEPS), number(row["worst"]["500"], 3)]
            for n, row in entries.items()
        ]
        optimum = f", optimum {result['optimum']:.4g}" if "optimum" in result else ""
        head = ["optimizer", *(f"@{step}" for step in STEPS), "worst problem @500"]
        parts.append(f"**{name}** ({result['num']} problems{optimum})\n\n{table(head, body)}")
    return "\n\n".join(parts)


def levers() -> str:
    found = read("levers")
    body = [
        [name, *(f"{row['loss'][s]:.4g} ± {row['sem'][s]:.1g}" for s in row["loss"]), f"{row['seconds']:.0f}"]
        for name, row in found["levers"].items()
    ]
    return table(["training", *(f"@{step}" for step in found["levers"]["base"]["loss"]), "seconds a seed"], body)


def cost() -> str:
    found = read("speed-cost")
    body = [
        [
            name,
            f"{found['weights'][name]:,}",
            number(found["multiplications_a_coordinate"][name], 3),
            number(found["ms_a_step"][name], 3),
            f"{found['update_times_adam'][name]:.2f}",
            f"{found['gradient_and_update_times_adam'][name]:.2f}",
        ]
        for name in found["update_times_adam"]
    ]
    head = ["rule", "weights", "multiplications a coordinate (matrix products)", "ms an update", "times Adam's update"]
    return f"{found['problem']}; the gradient takes {found['ms_a_step']['gradient']:.3g} ms.\n\n" + table(
        [*head, "times Adam, gradient and update"], body
    )


def section() -> str:
    """The shipped optimizers' part of the benchmark page."""
    return f"""## The shipped optimizers

`python benchmarks/learned.py train NAME` and `judge PROBLEM`: new problems, 500 steps, networks on the whole test set;
learned rules: mean ± standard error over three training seeds; baselines: over problems, each at the rate tuned for the
step (beyond step 200, at that one's; where no rate was tuned before, five baselines are).  Bold: no tuned baseline is
better at that step.  "Held out": no problem of that kind was in any training.

{readme()}

Accuracy on the whole test set:

{accuracies()}

All optimizers:

{every_baseline()}

### What a step costs

`python benchmarks/speed.py cost`: {cost()}

### Training levers

`python benchmarks/levers.py`: the subspace rule on 64-20-10 networks on digits, 60 meta-steps of 8 networks and 50
steps, two seeds; the base (`log-loss`, `--through-path`, `--by-segment`, `--truncate 10`) and one change at a
time; nats summed over the 64 held-out images of 64 new networks.

{levers()}"""


def first_run() -> str:
    """What the main command finds, a row a training seed."""
    rows = []
    for seed in range(3):
        summary = read(f"main-{seed}")["summary"]
        found = summary["stopping"]
        less = [
            f"{found[f'J_{other}'] - found['J']:.3f} ± {found[error]:.3f}"
            for other, error in (("budget", "J_error"), ("patience", "J_error_patience"))
        ]
        rows.append(
            [
                str(seed),
                f"{found['rank_correlation']:.2f}",
                f"{found['steps']:.1f} ± {found['sd']:.1f}",
                f"{found['steps_oracle']:.1f} ± {found['sd_oracle']:.1f}",
                f"{found['J']:.2f}",
                *less,
                f"{found['wins_patience']:.0%}",
                f"{found['J'] - found['J_oracle']:.3f}",
                f"{summary['amortisation_gap']:.3f}",
                f"{summary['seconds']:.0f} s",
            ]
        )
    head = [
        "seed", "rank correlation", "own stop, steps", "best step", "J", "less than the best budget",
        "less than the best patience", "problems won against it", "more than hindsight", "amortisation gap, nats",
        "time",
    ]  # fmt: skip
    return table(head, rows)


def main() -> None:
    made = {"main": first_run(), "unseen": against_recipes(), "harm": harm(), "learned": readme()}
    for name, marks in PAGES.items():
        fill(ROOT / name, {mark: made[mark] for mark in marks})


if __name__ == "__main__":
    main()
