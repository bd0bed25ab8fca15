"""Every way to stop on curves of data sets on which nothing was chosen: the whole of ``evaluate --curves``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from probact.curves.corpus import Curves
from probact.curves.kinds import KINDS
from probact.judging.curves.learned import Head, forecasts
from probact.judging.curves.prices import Array, Price, Priced, judged, mean_and_error, regret_share
from probact.judging.curves.results import CurveRow, CurvesEvaluation, ForecastRow, MeanRow
from probact.judging.curves.ways import PATIENCE, WAYS, Way, tried
from probact.support.statistics import rank_correlation

ORACLE = "best look, in hindsight"
LEARNED = "learned head, no setting"


class _Set(NamedTuple):
    """A set of curves at every price."""

    name: str
    at: tuple[Priced, ...]


def data_set(name: str) -> str:
    """What the curves ``name`` are of: the same without the kind of model, ``digits`` of ``digits-mlp``."""
    kinds = [kind for kind in KINDS if name.endswith(f"-{kind}")]
    return name.removesuffix(f"-{kinds[0]}") if kinds else name


def evaluate_curves(
    sets: Sequence[Curves],
    prices: Sequence[Price],
    tune_on: Sequence[Curves] = (),
    heads: Sequence[Head] = (),
    ways: Sequence[Way] = WAYS,
    tell: Callable[[str], object] = lambda _: None,
) -> CurvesEvaluation:
    """Judge ``ways`` and ``heads`` on ``sets``.

    :param tune_on: curves of other data sets, on which settings are chosen; without them each set is judged by
        settings chosen on those of ``sets`` that are of other data sets.
    :raises ValueError: if a data set is both judged and tuned or trained on, or there is none to tune on.
    """
    _check_split(sets, tune_on, heads)
    for price in prices:
        price.checked()
    kept, others = [judged(one) for one in sets], [judged(one) for one in tune_on]
    found, seen = ([_Set(c.name, tuple(Priced.of(c, p) for p in prices)) for c in some] for some in (kept, others))
    rows: list[CurveRow] = []
    for way in (*ways, PATIENCE) if PATIENCE not in ways else ways:
        tell(way.name)
        rows += _tuned_rows(way, found, seen, prices)
    for one in found:
        rows += [_row(one.name, price, ORACLE, "", at, at.oracle) for price, at in zip(prices, one.at, strict=True)]
    forecast_rows: list[ForecastRow] = []
    for head in heads:
        tell(head.name)
        for one in found:
            traces = head.traces(one.at)
            for price, at, trace in zip(prices, one.at, traces, strict=True):
                rows.append(_row(one.name, price, LEARNED, head.name, at, trace.stop))
            forecast_rows += forecasts(one.name, head.name, one.at, traces)
    return CurvesEvaluation(
        judged={curves.name: len(curves.lengths) for curves in kept},
        left_out={
            one.name: len(one.lengths) - len(rest.lengths)
            for one, rest in zip(sets, kept, strict=True)
            if len(one.lengths) > len(rest.lengths)
        },
        tuned_on=tuple(curves.name for curves in tune_on),
        heads={head.name: head.trained_on for head in heads},
        rows=tuple(rows),
        means=tuple(_means(rows, prices)),
        forecasts=tuple(forecast_rows),
    )


def _check_split(sets: Sequence[Curves], tune_on: Sequence[Curves], heads: Sequence[Head]) -> None:
    names, others = ([curves.name for curves in some] for some in (sets, tune_on))
    for some, how in ((names, "judged"), (others, "tuned on")):
        if twice := sorted({name for name in some if some.count(name) > 1}):
            raise ValueError(f"expected one file a set of curves, got {twice[0]!r} {how} twice")
    if both := _of_both(names, others):
        raise ValueError(
            f"expected data sets to be judged or tuned on, got {both} as both; without --tune-on each set is judged by "
            "settings chosen on those of other data sets"
        )
    for head in heads:
        if both := _of_both(names, head.trained_on):
            raise ValueError(
                f"expected data sets that no training saw, got {both}: head {head.name!r} was trained on them"
            )
    if not tune_on and len(set(map(data_set, names))) < 2:
        raise ValueError("expected curves of two data sets or more, to tune on the others, or to --tune-on, got one")


def _of_both(names: Sequence[str], others: Sequence[str]) -> str:
    return ", ".join(sorted(set(map(data_set, names)) & set(map(data_set, others))))


def _tuned_rows(way: Way, found: Sequence[_Set], seen: Sequence[_Set], prices: Sequence[Price]) -> list[CurveRow]:
    """``way`` on each of ``found``, with settings that are best on ``seen``, or on those of other data sets."""
    if way.is_tuned:
        worth = tried(way, [one.at for one in seen or found])
        mine, others = ([data_set(one.name) for one in some] for some in (found, seen or found))
        chosen = [worth.best([s for s, other in enumerate(others) if other != own]) for own in mine]
    else:
        chosen = [way.settings * len(prices)] * len(found)
    return [
        _row(one.name, price, way.name, setting.describe(), at, setting.stops(at.looks))
        for one, settings in zip(found, chosen, strict=True)
        for price, at, setting in zip(prices, one.at, settings, strict=True)
    ]


def _row(name: str, price: Price, way: str, setting: str, at: Priced, stop: Array) -> CurveRow:
    share = regret_share(at.regret(stop), at.gain())
    J, J_error = mean_and_error(at.cost(stop))
    return CurveRow(
        data_set=name,
        price=price.value,
        relative=price.relative,
        way=way,
        setting=setting,
        regret_share=share.value,
        regret_share_error=share.error,
        J=J,
        J_error=J_error,
        looks=float(stop.mean()),
        looks_sd=float(stop.std(ddof=1)) if len(stop) > 1 else math.nan,
        rank_correlation=rank_correlation(stop, at.oracle),
    )


def _means(rows: Iterable[CurveRow], prices: Sequence[Price]) -> list[MeanRow]:
    """Over the data sets, at each price and over all prices; over the heads where there are several."""
    shares: dict[str, dict[str, dict[str, dict[Price, float]]]] = {}  # way, setting of a head, set, price
    for row in rows:
        head = row.setting if row.way == LEARNED else ""
        of_set = shares.setdefault(row.way, {}).setdefault(head, {}).setdefault(row.data_set, {})
        of_set[Price(row.price, row.relative)] = row.regret_share
    tables = {way: np.array([_table(of_head, prices) for of_head in heads.values()]) for way, heads in shares.items()}
    patience, sets = tables[PATIENCE.name][0], [data_set(name) for name in shares[PATIENCE.name][""]]
    found = []
    for way, table in tables.items():
        for i, price in enumerate(prices):
            found.append(_mean(way, price, table[:, :, i], patience[:, i], sets))
        found.append(_mean(way, Price(math.nan), _over_prices(table), _over_prices(patience), sets))
    return found


def _table(of_sets: Mapping[str, Mapping[Price, float]], prices: Sequence[Price]) -> list[list[float]]:
    return [[of_prices[price] for price in prices] for of_prices in of_sets.values()]


def _over_prices(table: Array) -> Array:
    """Mean over the last axis, of what is known."""
    known = np.isfinite(table)
    with np.errstate(invalid="ignore"):
        return np.where(known, table, 0).sum(-1) / known.sum(-1)


def _mean(way: str, price: Price, table: Array, patience: Array, sets: Sequence[str]) -> MeanRow:
    """Of ``table (heads, sets)`` beside ``patience (sets,)``; ``sets`` says the data set of each."""
    of_sets = table.mean(0)
    value, error = mean_and_error(of_sets, sets)
    difference, difference_error = mean_and_error(of_sets - patience, sets)
    _, head_error = mean_and_error([mean_and_error(of_head)[0] for of_head in table])
    return MeanRow(
        price=price.value,
        relative=price.relative,
        way=way,
        regret_share=value,
        error=error,
        heads=len(table),
        head_error=head_error,
        difference=difference,
        difference_error=difference_error,
    )
