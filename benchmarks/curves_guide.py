"""Write the tables and figures of ``docs/when-should-i-stop.md``: python benchmarks/curves_guide.py [DRAW].

From ``benchmarks/results/curves-<DRAW>.json``, which ``benchmarks/curves.py`` writes; without DRAW from the verdict,
or, where that was not judged yet, from the draw for development.
"""

from __future__ import annotations

import math
import re
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from pages import RESULTS, table

from probact.judging.curves.evaluation import LEARNED, ORACLE, data_set
from probact.judging.curves.prices import Price
from probact.judging.curves.results import CurvesEvaluation
from probact.judging.curves.ways import PATIENCE
from probact.reports.curves_figures import draw_all
from probact.reports.curves_text import over_prices, prices_of, ways_of, with_error
from probact.support.files import write_atomically

DOCS = Path(__file__).resolve().parent.parent / "docs"
GUIDE = DOCS / "when-should-i-stop.md"
ONE_SETTING = ("patience, one setting", "t-test, one setting")
TUNED = (PATIENCE.name, "t-test, tuned")


def by_price(result: CurvesEvaluation) -> str:
    """Regret shares, the best way first."""
    prices = prices_of(result)
    rows = []
    for way in ways_of(result):
        if way == ORACLE:
            continue
        found = [result.mean(way, *price) for price in prices]
        mean = result.mean(way)
        cells = [with_error(row.regret_share, row.error) for row in (*found, mean)]
        rows.append([f"**{way}**" if way == LEARNED else way, *cells])
    heads = max((row.heads for row in result.means), default=1)
    said = f" (the head: mean of {heads} training seeds)" if heads > 1 else ""
    sets = len({data_set(name) for name in result.judged})
    curves = f"{sum(result.judged.values()):,} curves, {len(result.judged)} kinds of {sets} data sets"
    return f"{curves}{said}; {result.split}.\n\n" + table(["way to stop", *map(str, prices), "mean"], rows)


def by_data_set(result: CurvesEvaluation) -> str:
    """Mean over prices, of the head and of what it is compared with."""
    ways = [way for way in (LEARNED, *ONE_SETTING, *TUNED, "patience 10, as people use it") if way in ways_of(result)]
    rows = [
        [f"{name} ({num:,})", *(with_error(*of_set(result, way, name)) for way in ways)]
        for name, num in result.judged.items()
    ]
    return table(["data set and model (curves)", *ways], rows)


def of_set(result: CurvesEvaluation, way: str, name: str) -> tuple[float, float]:
    return over_prices([row for row in result.rows if (row.way, row.data_set) == (way, name)])


def where_it_does_not_help(result: CurvesEvaluation) -> str:
    """The head where tuned patience is better, set by set, and against the best single setting."""
    if LEARNED not in ways_of(result):
        return "No head was judged yet."
    pairs = {name: (of_set(result, LEARNED, name)[0], of_set(result, PATIENCE.name, name)[0]) for name in result.judged}
    worse = {name: pair for name, pair in pairs.items() if pair[0] > pair[1]}
    beyond = [name for name, (head, patience) in pairs.items() if head > 1.3 * patience + 0.05]
    head = result.mean(LEARNED)
    single = {way: head.regret_share / result.mean(way).regret_share for way in ONE_SETTING}
    lines = [
        f"- Beside the best single setting for all prices the head's regret is {single[ONE_SETTING[0]]:.2f} of that of "
        f"patience, and {single[ONE_SETTING[1]]:.2f} of that of the t-test, which is told the price.",
        f"- Against patience tuned for each price on other data it is {head.difference:+.3f} ± "
        f"{head.difference_error:.3f} (set by set), so that "
        + ("it is ahead." if head.difference < -2 * head.difference_error else
           "it is behind." if head.difference > 2 * head.difference_error else "the two are level."),
    ]  # fmt: skip
    if worse:
        said = ", ".join(f"{name} ({a:.3f} against {b:.3f})" for name, (a, b) in worse.items())
        lines.append(f"- Tuned patience does better on {len(worse)} of {len(pairs)} sets of curves: {said}.")
    lines.append(f"- Worse than 1.3 times tuned patience + .05: {', '.join(beyond) or 'on none of them'}.")
    dearest = max((price for price in prices_of(result)), key=lambda price: (price.relative, price.value))
    row = result.mean(LEARNED, *dearest)
    lines.append(f"- At {dearest} a look {row.regret_share:.0%} of what could be gained is still lost.")
    return "\n".join(lines)


def settings(result: CurvesEvaluation) -> str:
    """What was tuned for each price, where one setting was chosen for all data sets."""
    ways = [way for way in (*TUNED, *ONE_SETTING) if way in ways_of(result)]
    rows = []
    for price in prices_of(result):
        chosen = [
            {row.setting for row in result.rows if row.way == way and Price(row.price, row.relative) == price}
            for way in ways
        ]
        rows.append([str(price), *(" / ".join(sorted(found)) for found in chosen)])
    return table(["price of a look", *ways], rows)


def forecasts(result: CurvesEvaluation) -> str:
    """Expected calibration error, by question."""
    rows = []
    for question in dict.fromkeys(row.forecast for row in result.forecasts):
        by_set = {
            name: float(np.mean([r.error for r in result.forecasts if (r.forecast, r.data_set) == (question, name)]))
            for name in result.judged
        }
        known = {name: error for name, error in by_set.items() if math.isfinite(error)}
        worst = max(known, key=lambda name: known[name])
        rows.append([question, f"{np.mean(list(known.values())):.3f}", f"{known[worst]:.3f} ({worst})"])
    return table(["forecast", "off by, mean over data sets", "at worst"], rows) if rows else "No head was judged yet."


def fill(page: str, mark: str, text: str) -> str:
    """``page`` with ``text`` between the marks of that name."""
    found, count = re.subn(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", lambda m: f"{m[1]}{text}\n{m[2]}", page,
                           flags=re.DOTALL)  # fmt: skip
    if count != 1:
        raise ValueError(f"{GUIDE}: expected one pair of marks {mark!r}, got {count}")
    return found


def main(draw: str | None) -> None:
    draws = [draw] if draw else ["verdict", "development"]
    name = next((one for one in draws if (RESULTS / f"curves-{one}.json").exists()), draws[-1])
    result = CurvesEvaluation.from_json((RESULTS / f"curves-{name}.json").read_text())
    page = GUIDE.read_text()
    parts = {
        "draw": f"The figures below are of the draw *{name}*.",
        "prices": by_price(result),
        "sets": by_data_set(result),
        "not": where_it_does_not_help(result),
        "settings": settings(result),
        "forecasts": forecasts(result),
    }
    for mark, text in parts.items():
        page = fill(page, mark, text)
    write_atomically(GUIDE, page)
    with tempfile.TemporaryDirectory() as folder:
        for path in draw_all(result, Path(folder)):
            shutil.copy(path, DOCS / "images" / f"stop_{path.name}")


if __name__ == "__main__":
    main(*sys.argv[1:2] or [None])
