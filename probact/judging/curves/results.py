"""What judging on training curves finds, typed; ``curves.json`` is a ``CurvesEvaluation``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from probact.judging.results import Calibration
from probact.support.results import Result


@dataclass(frozen=True, kw_only=True)
class CurveRow(Result):
    """One way to stop the curves of one data set at one price of a look.

    :ivar price, relative: see ``prices.Price``.
    :ivar setting: of the way, chosen on other data sets; the name of the file of a learned head.
    :ivar regret_share: sum regret / sum possible net gain, NaN where there is nothing to gain.
    :ivar regret_share_error: its standard error over the curves.
    :ivar J: mean test loss of the look that is returned + price x looks, with its standard error over the curves.
    :ivar looks: mean at the stop; the standard deviation is over the curves.
    :ivar rank_correlation: of the stops with the oracle's.
    """

    data_set: str
    price: float
    relative: bool
    way: str
    setting: str
    regret_share: float
    regret_share_error: float
    J: float
    J_error: float
    looks: float
    looks_sd: float
    rank_correlation: float


@dataclass(frozen=True, kw_only=True)
class MeanRow(Result):
    """One way to stop at one price: the mean of its regret share over the data sets.

    :ivar price: NaN for the mean over all prices.
    :ivar error: standard error over the data sets (of the mean over heads); sets of curves that are of one data set,
        of several kinds of model, count as a group.
    :ivar heads: learned heads, training seeds, that this is the mean of; 1 for a rule.
    :ivar head_error: standard error over them.
    :ivar difference: to patience tuned for the price, set by set, with its standard error over the sets.
    """

    price: float
    relative: bool
    way: str
    regret_share: float
    error: float
    heads: int
    head_error: float
    difference: float
    difference_error: float


@dataclass(frozen=True, kw_only=True)
class ForecastRow(Calibration):
    """How far what a learned head forecasts on one data set comes true, over all curves, looks and prices.

    :ivar forecast: the question, in words.
    :ivar head: its file.
    """

    data_set: str
    head: str
    forecast: str


@dataclass(frozen=True, kw_only=True)
class CurvesEvaluation(Result):
    """Ways to stop, judged on curves of data sets on which nothing was chosen.

    :ivar judged: set of curves -> how many.
    :ivar left_out: set of curves -> those that cannot be judged: their first losses are not finite.
    :ivar tuned_on: data sets; none where each set is judged by rules tuned on those of other data sets (leave one out).
    :ivar heads: learned head, its file -> the data sets it was trained on.
    """

    judged: dict[str, int]
    left_out: dict[str, int]
    tuned_on: tuple[str, ...]
    heads: dict[str, tuple[str, ...]]
    rows: tuple[CurveRow, ...]
    means: tuple[MeanRow, ...]
    forecasts: tuple[ForecastRow, ...] = ()

    @property
    def split(self) -> str:
        """What was tuned on, in words."""
        if self.tuned_on:
            return f"tuned on {', '.join(self.tuned_on)}; judged on {', '.join(self.judged)}"
        return f"leave one data set out: judged on each of {', '.join(self.judged)}, tuned on those of other data sets"

    def mean(self, way: str, price: float = math.nan, relative: bool = False) -> MeanRow:
        """Of ``way`` at that price, or over all prices.

        :raises KeyError: if there is none.
        """
        for row in self.means:
            same = math.isnan(row.price) if math.isnan(price) else (row.price, row.relative) == (price, relative)
            if row.way == way and same:
                return row
        raise KeyError(way)
