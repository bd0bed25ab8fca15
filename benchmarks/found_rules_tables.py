"""Tables and figure of docs/optimizer-search.md, from benchmarks/results/found-rules-*.json."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pages import RESULTS, number, read, table, with_error

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, FIGURE = DOCS / "optimizer-search.md", DOCS / "images" / "found_rules.png"
CONTROLLERS = ("random", "lstm", "evolution")
PLAIN = ("random", "evolution", "lstm")
"""Of the figure: from the one that learns nothing."""


def _by(rows: Iterable[dict[str, Any]], key: str) -> dict[Any, list[dict[str, Any]]]:
    found: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return found


def _over(values: Iterable[float], scale: float = 1.0, digits: int = 3) -> str:
    """Mean and its standard error."""
    values = [scale * value for value in values]
    error = float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0
    mean = f"{np.mean(values):.0f}" if np.mean(values) >= 100 else f"{np.mean(values):.{digits}g}"
    return mean + (f" ± {error:.0f}" if error >= 10 else f" ± {error:.1g}" if error > 1e-9 else "")


def _best(one: dict[str, Any]) -> dict[str, Any]:
    return next(row for row in one["ranked"] if not row["is_reference"])


def searches() -> str:
    found = _by(read("found-rules-search")["searches"], "controller")
    rows = []
    for name, some in ((name, found[name]) for name in CONTROLLERS if name in found):
        adam = [next(row for row in one["ranked"] if row["rule"] == "adam")["reward"] for one in some]
        rows.append(
            [
                name,
                f"{len(some)} x {some[0]['rules']}",
                _over(one["mean_reward_of_the_last_fifth"] for one in some),
                _over((one["distinct_in_the_last_fifth"] for one in some), 100) + " %",
                _over((one["above_adam_in_the_last_fifth"] for one in some), 100) + " %",
                _over(max(one["rewards"]) for one in some),
                _over(_best(one)["reward"] for one in some),
                _over(adam),
            ]
        )
    head = ["controller", "searches x rules", "mean reward, last fifth", "distinct there", "above Adam there"]
    return table([*head, "best reward", "the best again", "Adam, likewise"], rows)


def found() -> str:
    rows = []
    for one in read("found-rules-search")["searches"]:
        best = _best(one)
        rows.append(
            [one["controller"], str(one["seed"]), f"`{best['rule']}`", number(best["reward"]), number(best["loss"])]
        )
    return table(["controller", "seed", "best rule on fresh networks", "accuracy", "loss"], rows)


def judged() -> str:
    rows = read("found-rules-judged")["rows"]
    problems = [*_by(rows, "problem")]
    by_rule = _by(rows, "rule")
    first = {name: min(row["loss"] for row in some if row["problem"] == problems[0]) for name, some in by_rule.items()}
    lines = []
    for name in sorted(by_rule, key=first.__getitem__):
        cells = {row["problem"]: row for row in by_rule[name]}
        sources = ", ".join(sorted({source.rsplit("-", 1)[0] for source in by_rule[name][0]["found_by"]}))
        known = [cells.get(problem) for problem in problems]
        shown = ["-" if one is None else with_error(one["loss"], one["sem"]) for one in known]
        accuracy = cells[problems[0]]["accuracy"]
        lines.append([f"`{name}`" if sources else name, sources or "known", *shown, f"{100 * accuracy:.1f} %"])
    return table(["rule", "found by", *problems, f"accuracy, {problems[0]}"], lines)


def by_controller() -> str:
    """Mean test loss over the searches of each controller, of its best rule on fresh networks."""
    rows = read("found-rules-judged")["rows"]
    problems = [*_by(rows, "problem")]
    lines = []
    for controller in CONTROLLERS:
        cells = [controller]
        for problem in problems:
            losses = [
                row["loss"]
                for row in rows
                for source in row["found_by"]
                if row["problem"] == problem and source.startswith(f"{controller}-") and source.endswith("-1")
            ]
            cells.append(_over(losses) if losses else "-")
        lines.append(cells)
    for known in ("adam", "powersign", "momentum"):
        cells = {row["problem"]: row for row in rows if row["rule"] == known}
        lines.append([known, *(number(cells[problem]["loss"], 3) for problem in problems)])
    return table(["best rule of", *problems], lines)


def rates() -> str:
    found = _by(read("found-rules-rates")["rows"], "halting")
    seconds = {row["seed"]: row["seconds"] for row in found["none"]}
    rows = [
        [
            name,
            _over(row["rules_a_minute"] for row in some),
            _over(seconds[row["seed"]] / row["seconds"] for row in some),
            _over((row["stopped"] for row in some), 100) + " %",
            _over((row["kept_of_the_top_8"] for row in some), 8, 2),
            _over(row["best_reward"] for row in some),
            _over(row["best_loss"] for row in some),
        ]
        for name, some in found.items()
    ]
    head = ["halting", "rules a minute", "times as many", "stopped", "of the top 8 kept", "best accuracy", "its loss"]
    return table(head, rows)


def stop() -> str:
    rows = []
    for row in read("found-rules-stop")["rows"]:
        J = with_error(row["J"], row["J_sem"] if row["J_sem"] > 1e-9 else None)
        rows.append([number(row["price"]), row["stop"], J, number(row["rules"], 3), f"{row['share']:.2f}"])
    return table(["price of a rule", "the search stops by", "J", "rules", "share of budget to hindsight"], rows)


SECTIONS = {
    "searches": (searches, "search"),
    "found": (found, "search"),
    "judged": (judged, "judged"),
    "controllers": (by_controller, "judged"),
    "rates": (rates, "rates"),
    "stop": (stop, "stop"),
}
"""Table and the results that it is made from."""


def fill() -> None:
    """Every table whose results are there, between its marks."""
    text = PAGE.read_text()
    for name, (made, results) in SECTIONS.items():
        if (RESULTS / f"found-rules-{results}.json").exists():
            before, _, rest = text.partition(f"<!-- {name} -->")
            _, _, after = rest.partition(f"<!-- /{name} -->")
            text = f"{before}<!-- {name} -->\n{made()}\n<!-- /{name} -->{after}"
    PAGE.write_text(text)


def figure() -> None:
    """Mean reward over the search, and the best so far, of every controller."""
    from probact.reports.style import headed, ink, panels, save_figure, series, styled

    by_name = _by(read("found-rules-search")["searches"], "controller")
    with styled():
        drawn, axes = panels(1, 2, 3.8, top=0.8)
        for index, name in enumerate(name for name in PLAIN if name in by_name):
            rewards = np.array([one["rewards"] for one in by_name[name]])
            number_of = np.arange(1, rewards.shape[1] + 1)
            window = 50
            totals = np.cumsum(np.pad(rewards, ((0, 0), (window, 0))), 1)
            means = (totals[:, window:] - totals[:, :-window]) / np.minimum(number_of, window)
            best = np.maximum.accumulate(rewards, 1)
            for axis, values in ((axes[0, 0], means), (axes[0, 1], best)):
                axis.plot(number_of, values.mean(0), color=series(index), label=name)
                axis.fill_between(number_of, values.min(0), values.max(0), color=series(index), alpha=0.15, lw=0)
        adam = float(np.mean([one["adam"] for some in by_name.values() for one in some]))
        for axis in axes[0]:
            axis.axhline(adam, color=ink(), lw=1, ls="--", label="Adam on the same networks")
            axis.set(xlabel="number of rules tried")
        axes[0, 0].set(ylabel=f"mean reward of {window} rules (accuracy)", ylim=(0, 1))
        axes[0, 1].set(ylabel="best reward so far (accuracy)", ylim=(0.9, 0.985))
        axes[0, 1].legend(loc="lower right")
        seeds = len(next(iter(by_name.values())))
        headed(
            drawn,
            "Controllers that learn write better rules; chance, too, finds some above Adam within a hundred",
            f"digits 64-20-10; mean and range of {seeds} searches each",
        )
        save_figure(drawn, FIGURE)
