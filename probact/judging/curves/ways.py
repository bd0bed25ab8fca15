"""The ways to stop that a table compares, and the settings among which each is tuned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from probact.judging.curves.base import CurveRule, Setting, first_look
from probact.judging.curves.forecasts import PowerLaw, TTest
from probact.judging.curves.plain import Budget, Everything, GrowingPatience, Patience
from probact.judging.curves.prechelt import GeneralizationLoss, ProgressQuotient
from probact.judging.curves.prices import Array, Looks, Priced

COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 70, 100, 150, 200)
"""Looks to wait, and budgets."""
WINDOWS = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30)
ERRORS = (-2.0, -1.5, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""z of the t-test."""
NO_GRADIENTS = (
    "not in the table: the evidence-based criterion (Mahsereci et al. 2017), which needs the variance of the gradient "
    "over single points at each look; no file of curves holds it"
)

LEAST_PRICES, LEAST_SHARE = 3.0, 0.01
"""Of a curve, in prices and of its first loss: a set where less is to be gained would decide every setting alone."""

Grid = Sequence[tuple[CurveRule, Sequence[float]]]
"""Rules, each with the thresholds that are tried."""


class Way(NamedTuple):
    """A row of the table.

    :ivar each_price: whether the setting is tuned for each price; else one serves them all.
    """

    name: str
    grid: Grid
    each_price: bool

    @property
    def settings(self) -> list[Setting]:
        return [Setting(rule, threshold) for rule, thresholds in self.grid for threshold in thresholds]

    @property
    def is_tuned(self) -> bool:
        return len(self.settings) > 1


_UNPRICED = [Patience(share=share) for share in (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)]
_T_TESTS = [(TTest(window), [-z for z in ERRORS]) for window in WINDOWS]
USUAL = Way("patience 10, as people use it", [(Patience(), [10])], each_price=False)
PATIENCE = Way(
    "patience, tuned",
    [(rule, COUNTS) for rule in (*_UNPRICED, *(Patience(least) for least in (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)))],
    each_price=True,
)
WAYS = (
    Way("all looks", [(Everything(), [1])], each_price=False),
    Way("budget, tuned", [(Budget(), (0, *COUNTS))], each_price=True),
    USUAL,
    Way("patience, one setting", [(rule, COUNTS) for rule in _UNPRICED], each_price=False),
    PATIENCE,
    Way(
        "growing patience, tuned",
        [(GrowingPatience(least), [i / 20 for i in range(1, 21)]) for least in (3, 5, 10, 20)],
        each_price=True,
    ),
    Way(
        "GL (Prechelt), tuned",
        [(GeneralizationLoss(), [0.1, 0.3, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100, 300])],
        each_price=True,
    ),
    Way(
        "PQ (Prechelt), tuned",
        [(ProgressQuotient(k), [0.01, 0.03, 0.1, 0.2, 0.5, 0.75, 1, 2, 3, 5, 10, 30]) for k in (3, 5, 10)],
        each_price=True,
    ),
    Way("power law, tuned", [(PowerLaw(least), [-s for s in (0.1, 0.3, 0.5, 0.7, 1, 1.4, 2, 3)])
                             for least in (2, 3, 5, 10, 20)], each_price=True),
    Way("t-test, one setting", _T_TESTS, each_price=False),
    Way("t-test, tuned", _T_TESTS, each_price=True),
)  # fmt: skip


class Tried(NamedTuple):
    """What every setting of a way is worth on every data set at every price.

    :ivar shares: ``(settings, sets, prices)`` regret shares; a smaller possible gain than ``LEAST_PRICES`` or
        ``LEAST_SHARE`` counts as that much.
    """

    way: Way
    shares: Array

    def best(self, sets: Sequence[int]) -> list[Setting]:
        """For each price the setting with the smallest mean over ``sets``, or one with the smallest over all prices.

        What a setting is worth on other sets than these does not matter.
        """
        settings = self.way.settings
        of_sets = self.shares[:, list(sets)]
        mean = of_sets.mean(1)
        if self.way.each_price:
            return [settings[i] for i in mean.argmin(0)]
        return [settings[int(mean.mean(1).argmin())]] * self.shares.shape[2]


def tried(way: Way, sets: Sequence[Sequence[Priced]]) -> Tried:
    """``way`` on every data set, given at every price."""
    return Tried(way, np.stack([_shares(way, prices) for prices in sets], 1))


def _shares(way: Way, prices: Sequence[Priced]) -> Array:
    """``(settings, prices)`` on one data set; a rule scores its curves at all prices at once."""
    looks = Looks.joined([priced.looks for priced in prices])
    possible = [_possible(priced) for priced in prices]
    found = []
    for rule, thresholds in way.grid:
        scores = rule.scores(looks)
        for threshold in thresholds:
            stops = np.split(first_look(scores, threshold, looks.lengths), len(prices))
            regrets = [priced.regret(stop).sum() for priced, stop in zip(prices, stops, strict=True)]
            found.append(np.array(regrets) / possible)
    return np.array(found)


def _possible(priced: Priced) -> float:
    """What the curves could gain in sum, or the least that counts."""
    first = np.abs(priced.looks.valid[:, 0]) * priced.price
    return max(float(priced.gain().sum()), LEAST_PRICES * float(priced.price.sum()), LEAST_SHARE * float(first.sum()))
