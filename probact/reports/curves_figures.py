"""Figures of judging on training curves, from the typed result alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probact.judging.curves.evaluation import LEARNED as LEARNED_WAY, ORACLE, data_set
from probact.judging.curves.results import CurvesEvaluation, ForecastRow
from probact.judging.curves.ways import PATIENCE as PATIENCE_WAY, USUAL
from probact.reports.curves_text import over_prices, prices_of, ways_of
from probact.reports.style import (
    BUDGET,
    LOSS,
    OWN,
    PATIENCE,
    PRIOR,
    ROLES,
    headed,
    ink,
    log_scale,
    panels,
    save_figure,
    series,
    styled,
)

COLORS = {
    LEARNED_WAY: OWN,
    PATIENCE_WAY.name: PATIENCE,
    USUAL.name: PATIENCE,
    "budget, tuned": BUDGET,
    "t-test, tuned": LOSS,
    "t-test, one setting": LOSS,
    "patience, one setting": PATIENCE,
}
DASHES = {USUAL.name: ":", "t-test, one setting": "--", "patience, one setting": "--"}
MARKERS = {USUAL.name: "s", "t-test, one setting": "D", "patience, one setting": "^"}
"""Of the ways that a figure shows in colour, a family of ways each; the others are in grey."""


def regret_by_price(result: CurvesEvaluation) -> Figure:
    """Regret share against the price of a look, a line a way to stop, a panel a unit of the price."""
    units = sorted({price.relative for price in prices_of(result)})
    figure, (row,) = panels(1, len(units), 5.0, right=2.9, top=0.75, sharey=True)
    ways = [way for way in ways_of(result) if way != ORACLE]
    for axes, relative in zip(row, units, strict=True):
        prices = [price for price in prices_of(result) if price.relative == relative]
        for way in ways:
            means = [result.mean(way, *price) for price in prices]
            color, strong = COLORS.get(way, PRIOR), way in COLORS
            axes.errorbar([price.value for price in prices], [mean.regret_share for mean in means],
                          yerr=[0 if math.isnan(mean.error) else mean.error for mean in means], color=color,
                          lw=2.4 if way == LEARNED_WAY else 1.4, alpha=1 if strong else 0.5, ms=4,
                          marker=MARKERS.get(way, "o"), ls=DASHES.get(way, "-" if strong else ":"),
                          label=f"{way}: {result.mean(way).regret_share:.3f}",
                          zorder=3 if way == LEARNED_WAY else 2)  # fmt: skip
        axes.set_xlabel(
            "price of a look (share of the first loss)" if relative else "price of a look (units of the loss)"
        )
        log_scale(axes, "xy")
        axes.set_xticks([price.value for price in prices], [f"{price.value:g}" for price in prices])
    row[0].set_ylabel("regret (share of the possible gain)")
    row[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title="mean over all prices", alignment="left")
    below = f"{_size(result)}; bars: standard error over data sets"
    return headed(figure, _finding(result, ways), below)


def _size(result: CurvesEvaluation) -> str:
    split = f"tuned on {len(result.tuned_on)} others" if result.tuned_on else "each judged by settings of the others"
    sets = len({data_set(name) for name in result.judged})
    return f"{sum(result.judged.values()):,} curves, {len(result.judged)} kinds of {sets} data sets, {split}"


def _finding(result: CurvesEvaluation, ways: Sequence[str]) -> str:
    shown = [way for way in (LEARNED_WAY, PATIENCE_WAY.name, USUAL.name) if way in ways]
    return "Regret: " + "; ".join(f"{way} {result.mean(way).regret_share:.3f}" for way in shown)


def regret_by_data_set(result: CurvesEvaluation) -> Figure:
    """Regret share of the coloured ways on each data set, mean over prices."""
    names = list(result.judged)
    figure, ((axes,),) = panels(1, 1, 1.8 + 0.42 * len(names), left=1.9, right=2.9, top=0.75)
    ways = [way for way in ways_of(result) if way in COLORS]
    for place, way in enumerate(ways):
        found = [over_prices([r for r in result.rows if (r.way, r.data_set) == (way, name)]) for name in names]
        y = np.arange(len(names)) + 0.7 * (place / max(len(ways) - 1, 1) - 0.5)
        values, errors = np.array(found).T
        axes.errorbar(
            values, y, xerr=np.nan_to_num(errors), color=COLORS[way], fmt=MARKERS.get(way, "o"), ms=4, lw=1, label=way
        )
    axes.set_yticks(range(len(names)), [f"{name} ({result.judged[name]:,})" for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("regret, mean over prices (share of the possible gain)")
    log_scale(axes, "x")
    for line in np.arange(len(names) - 1) + 0.5:
        axes.axhline(line, color=ink(), lw=0.5, alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    way = LEARNED_WAY if LEARNED_WAY in ways else ways[0]
    worst = max(names, key=lambda name: _of(result, way, name))
    finding = f"{way}: at worst {_of(result, way, worst):.3f}, on {worst}"
    return headed(figure, finding, f"{_size(result)}; bars: standard error over curves")


def _of(result: CurvesEvaluation, way: str, name: str) -> float:
    value = over_prices([row for row in result.rows if (row.way, row.data_set) == (way, name)])[0]
    return -math.inf if math.isnan(value) else value


def forecasts_come_true(result: CurvesEvaluation) -> Figure:
    """What the learned head forecasts against how often it comes true, a panel a question, a line a data set."""
    questions = list(dict.fromkeys(row.forecast for row in result.forecasts))
    columns = min(3, len(questions))
    figure, grid = panels(-(-len(questions) // columns), columns, 7.3, right=1.7, top=1.15, sharex=True, sharey=True)
    figure.subplots_adjust(hspace=0.25, wspace=0.1)
    head = next(iter(result.heads))
    names = list(result.judged)
    for axes, question in zip(grid.flat, questions, strict=False):
        rows = [row for row in result.forecasts if (row.forecast, row.head) == (question, head)]
        axes.plot((0, 1), (0, 1), color=ink(), ls=":", lw=1)
        for row in rows:
            _draw(axes, row, names.index(row.data_set))
        worst = max(row.error for row in rows)
        axes.set_title(f"{question}\n(off by {np.mean([row.error for row in rows]):.3f}, at most {worst:.3f})",
                       fontsize="small")  # fmt: skip
    for axes in grid.flat[len(questions) :]:
        axes.axis("off")
    for axes in grid[-1]:
        axes.set_xlabel("probability, as forecast")
    for axes in grid[:, 0]:
        axes.set_ylabel("share that came true")
    grid[0, -1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    pays = [row.error for row in result.forecasts if row.forecast.startswith("another")]
    finding = f"'Another k looks will pay' is off by {np.mean(pays):.3f} on average, {np.max(pays):.3f} at worst"
    return headed(figure, finding, f"{_size(result)}, all looks and prices; head {Path(head).name}")


def _draw(axes: Axes, row: ForecastRow, place: int) -> None:
    bins: list[Any] = [
        (p, o, n) for p, o, n in zip(row.predicted, row.observed, row.entries, strict=True) if not math.isnan(p)
    ]
    if bins:
        x, y, size = np.array(bins).T
        color = series(place)
        axes.plot(x, y, label=row.data_set, color=color, ls=("-", "--", ":")[place // len(ROLES) % 3], lw=1)
        axes.scatter(x, y, s=3 + 40 * size / max(size.sum(), 1), color=color)


def draw_all(result: CurvesEvaluation, folder: Path, style: str = "light") -> list[Path]:
    """Write every figure that there is data for; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    with styled(style):
        figures = {"regret_by_price": regret_by_price(result), "regret_by_data_set": regret_by_data_set(result)}
        if result.forecasts:
            figures["forecasts"] = forecasts_come_true(result)
        return [save_figure(figure, folder / f"{name}.png") for name, figure in figures.items()]
