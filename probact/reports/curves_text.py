"""Judging on training curves as text for a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from probact.judging.curves.prices import Price
from probact.judging.curves.results import CurveRow, CurvesEvaluation
from probact.judging.curves.ways import NO_GRADIENTS, PATIENCE
from probact.reports.columns import WIDTH

LABEL, CELL = 30, 10
COLUMNS = (WIDTH - LABEL) // CELL
Column = TypeVar("Column")


def curves_tables(result: CurvesEvaluation) -> str:
    """Which split, regret shares by price and by data set, what became of the forecasts, and what is not there."""
    found = [textwrap.fill(result.split, WIDTH), *_left_out(result), ""]
    found += ["regret as a share of the possible net gain, mean over sets of curves ± error over data sets"]
    found += [*_by_price(result), "", "the same by set of curves, mean over prices ± standard error over curves"]
    found += list(_by_data_set(result))
    if result.forecasts:
        found += ["", "forecasts of the learned head, expected calibration error by data set, all prices and looks"]
        found += list(_forecasts(result))
    return "\n".join([*found, "", *textwrap.wrap(NO_GRADIENTS, WIDTH)])


def prices_of(result: CurvesEvaluation) -> list[Price]:
    """In the order that they were asked for."""
    return list(dict.fromkeys(Price(row.price, row.relative) for row in result.rows))


def ways_of(result: CurvesEvaluation) -> list[str]:
    """The rows of the table, the best over all prices first."""
    ways = dict.fromkeys(row.way for row in result.means)
    return sorted(ways, key=lambda way: result.mean(way).regret_share)


def over_prices(rows: Sequence[CurveRow]) -> tuple[float, float]:
    """Mean regret share of one way on one data set over prices and heads, with the mean of the errors.

    The same curves are judged at every price, so that averaging hardly makes the error smaller.
    """
    known = [row for row in rows if math.isfinite(row.regret_share)]
    if not known:
        return math.nan, math.nan
    return float(np.mean([row.regret_share for row in known])), float(
        np.mean([row.regret_share_error for row in known])
    )


def _left_out(result: CurvesEvaluation) -> Iterator[str]:
    for name, number in result.left_out.items():
        yield f"{name}: {number} curves left out, whose first losses are not finite or which end at once"


def _by_price(result: CurvesEvaluation) -> Iterator[str]:
    columns = [*prices_of(result), None]

    def cell(way: str, price: Price | None) -> str:
        row = result.mean(way, *price) if price else result.mean(way)
        return with_error(row.regret_share, row.error)

    def heads(price: Price | None) -> tuple[str, str]:
        return (
            ("mean", "of all") if price is None else (f"{price.value:g}", "of first" if price.relative else "of loss")
        )

    yield from _blocks("price of a look", ways_of(result), columns, heads, cell)
    several = [row for row in result.means if row.heads > 1 and math.isnan(row.price)]
    for row in several:
        yield f"{row.way}: mean of {row.heads} training seeds, ± {row.head_error:.3f} over them"
    for way in ways_of(result):
        if result.mean(way).heads > 1 or way.startswith("learned"):
            row = result.mean(way)
            yield f"{way} less {PATIENCE.name}: {row.difference:+.4f} ± {row.difference_error:.4f} over the data sets"


def _by_data_set(result: CurvesEvaluation) -> Iterator[str]:
    def cell(way: str, name: str) -> str:
        return with_error(*over_prices([row for row in result.rows if (row.way, row.data_set) == (way, name)]))

    def heads(name: str) -> tuple[str, str]:
        return short(name), str(result.judged[name])

    yield from _blocks("set, curves", ways_of(result), list(result.judged), heads, cell)


def _forecasts(result: CurvesEvaluation) -> Iterator[str]:
    def cell(forecast: str, name: str) -> str:
        errors = [row.error for row in result.forecasts if (row.forecast, row.data_set) == (forecast, name)]
        return f"{np.mean(errors):.3f}" if errors else "-"

    forecasts = list(dict.fromkeys(row.forecast for row in result.forecasts))
    yield from _blocks("", forecasts, list(result.judged), lambda name: (short(name), ""), cell)


def short(name: str) -> str:
    """A data set's name in a column."""
    return name if len(name) < CELL else f"{name[:4]}…{name[4 - CELL + 2 :]}"


def with_error(value: float, error: float) -> str:
    """``.032±.004``, in a column."""
    if math.isnan(value):
        return "-"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1

    def plain(number: float) -> str:
        return f"{number:.{digits}f}".replace("0.", ".", 1) if abs(number) < 1 else f"{number:.{digits}f}"

    return plain(value) if math.isnan(error) else f"{plain(value)}±{plain(error)}"


def _blocks(
    label: str,
    rows: Sequence[str],
    columns: Sequence[Column],
    heads: Callable[[Column], tuple[str, str]],
    cell: Callable[[str, Column], str],
) -> Iterator[str]:
    """A table, as many columns at a time as fit."""
    for first in range(0, len(columns), COLUMNS):
        shown = columns[first : first + COLUMNS]
        if first:
            yield ""
        for name, line in zip((label, ""), zip(*map(heads, shown), strict=True), strict=True):
            if any(line):
                yield f"{name:{LABEL}}" + "".join(f"{text:>{CELL}}" for text in line)
        for row in rows:
            name = row if len(row) < LABEL else f"{row[: LABEL - 2]}…"
            yield f"{name:{LABEL}}" + "".join(f"{cell(row, column):>{CELL}}" for column in shown)
