"""Tables and figure of docs/optimizer-search.md, from benchmarks/results/found-rules-*.json."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pages import RESULTS, lines as lines_of, number, read, table, with_error

from probact.rules.expressions.parser import cache_key, parse

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


class Source(NamedTuple):
    """Where a rule was found: which of the best of which search."""

    controller: str
    seed: str
    rules: str
    place: str

    @classmethod
    def of(cls, text: str) -> Source:
        controller, seed, *rules, place = text.split("-")
        return cls(controller, seed, rules[0] if rules else "400", place)


def _of_length(rules: int | str) -> dict[str, list[dict[str, Any]]]:
    """Searches of so many rules, by controller."""
    some = [one for one in read("found-rules-search")["searches"] if one["rules"] == int(rules)]
    by_controller = _by(some, "controller")
    return {name: by_controller[name] for name in CONTROLLERS if name in by_controller}


def lengths() -> list[int]:
    """Of the searches that were made."""
    return sorted({one["rules"] for one in read("found-rules-search")["searches"]})


def searches() -> str:
    rows = []
    for name, some in ((name, some) for rules in lengths() for name, some in _of_length(rules).items()):
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
            [
                one["controller"],
                str(one["seed"]),
                str(one["rules"]),
                f"`{cache_key(parse(best['rule']))}`",
                number(best["reward"]),
                number(best["loss"]),
            ]
        )
    return table(["controller", "seed", "rules", "best rule on fresh networks", "accuracy", "loss"], rows)


def in_one_form(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Formulas as they are written now; of equal rules, which were judged on the same networks, one, found by all."""
    made: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        rule = cache_key(parse(row["rule"])) if row["found_by"] else row["rule"]
        one = made.setdefault((rule, row["problem"]), {**row, "rule": rule, "found_by": []})
        one["found_by"] += row["found_by"]
    return [*made.values()]


def judged() -> str:
    rows = in_one_form(read("found-rules-judged")["rows"])
    problems = [*_by(rows, "problem")]
    by_rule = _by(rows, "rule")
    first = {name: min(row["loss"] for row in some if row["problem"] == problems[0]) for name, some in by_rule.items()}
    lines = []
    for name in sorted(by_rule, key=first.__getitem__):
        cells = {row["problem"]: row for row in by_rule[name]}
        found_by = [Source.of(source) for source in by_rule[name][0]["found_by"]]
        sources = ", ".join(sorted({f"{one.controller}-{one.seed} of {one.rules}" for one in found_by}))
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
    sources = {(one.controller, one.rules) for row in rows for one in map(Source.of, row["found_by"])}
    for controller, rules in sorted(sources, key=lambda one: (int(one[1]), CONTROLLERS.index(one[0]))):
        cells = [f"{controller}, {rules} rules"]
        for problem in problems:
            losses = [
                row["loss"]
                for row in rows
                for one in map(Source.of, row["found_by"])
                if (row["problem"], one.controller, one.rules, one.place) == (problem, controller, rules, "1")
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


def unseen() -> str:
    """Mean test losses a family; of found rules also what the best known rule there has less, paired."""
    rows = lines_of(RESULTS / "found-rules-unseen.jsonl")
    by_problem = {
        problem: {row["rule"]: np.array(row["loss"]) for row in some} for problem, some in _by(rows, "problem").items()
    }
    made = []
    for name, some in _by(rows, "rule").items():
        is_found = some[0]["is_found"]
        cells = [f"`{name}`" if is_found else name]
        for losses in by_problem.values():
            if name not in losses:
                cells.append("-")
                continue
            shown = f"{losses[name].mean():.4g}"
            if is_found:
                more, error = _more_than_best_known(losses, name, rows)
                shown += f" ({more:+.2g} ± {error:.1g})"
            cells.append(shown)
        if is_found:
            compared = [_more_than_best_known(losses, name, rows) for losses in by_problem.values() if name in losses]
            cells.append(f"{sum(more <= 2 * error for more, error in compared)} of {len(compared)}")
        else:
            cells.append("")
        made.append(cells)
    return table(["rule", *by_problem, "not worse by 2 s.e."], made)


def _more_than_best_known(
    losses: dict[str, NDArray[np.float64]], name: str, rows: list[dict[str, Any]]
) -> tuple[float, float]:
    """Loss of ``name`` less that of the best known rule, mean over networks, and its standard error."""
    known = {row["rule"] for row in rows if not row["is_found"]} & set(losses)
    best = min(known, key=lambda rule: losses[rule].mean())
    more = losses[name] - losses[best]
    return float(more.mean()), float(more.std(ddof=1) / len(more) ** 0.5)


SECTIONS = {
    "searches": (searches, "search"),
    "found": (found, "search"),
    "judged": (judged, "judged"),
    "controllers": (by_controller, "judged"),
    "rates": (rates, "rates"),
    "stop": (stop, "stop"),
    "unseen": (unseen, "unseen"),
}
"""Table and the results that it is made from."""


def fill() -> None:
    """Every table whose results are there, between its marks."""
    text = PAGE.read_text()
    for name, (made, results) in SECTIONS.items():
        if [*RESULTS.glob(f"found-rules-{results}.json*")]:
            before, _, rest = text.partition(f"<!-- {name} -->")
            _, _, after = rest.partition(f"<!-- /{name} -->")
            text = f"{before}<!-- {name} -->\n{made()}\n<!-- /{name} -->{after}"
    PAGE.write_text(text)


def figure() -> None:
    """Mean reward over the search, and the best so far, of every controller."""
    from probact.reports.style import headed, ink, panels, save_figure, series, styled

    longest = [rules for rules in lengths() if len(_of_length(rules)) == len(CONTROLLERS)][-1]
    by_name = _of_length(longest)
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
