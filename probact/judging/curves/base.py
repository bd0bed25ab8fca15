"""What a way to stop a training curve is: a causal score of every look, and a threshold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from probact.judging.curves.prices import Array, Looks


class CurveRule(ABC):
    """Stop at the first look whose score reaches a threshold; the score of look t reads looks 0..t only.

    Losses are in units of the price of a look, so that a rule which wants to know the price compares them with 1.
    A rule's parameters are those of its constructor; what it may do with several thresholds is worked out once.
    """

    @abstractmethod
    def scores(self, looks: Looks) -> Array:
        """``(N, K+1)``; -inf for not yet."""

    @abstractmethod
    def describe(self, threshold: float) -> str:
        """The rule with a threshold, for a table."""

    def stops(self, looks: Looks, threshold: float) -> Array:
        """``(N,)`` int64: the look that each curve is stopped at, its last where the rule never speaks."""
        return first_look(self.scores(looks), threshold, looks.lengths)


class Setting(NamedTuple):
    """A rule with its threshold."""

    rule: CurveRule
    threshold: float

    def describe(self) -> str:
        return self.rule.describe(self.threshold)

    def stops(self, looks: Looks) -> Array:
        """``(N,)``, see ``CurveRule.stops``."""
        return self.rule.stops(looks, self.threshold)


def first_look(scores: Array, threshold: float, lengths: Array) -> Array:
    """First look at which ``scores (N, K+1)`` reach ``threshold``, ``(N,)`` int64; never later than ``lengths``."""
    reached = scores >= threshold
    return np.minimum(np.where(reached.any(1), reached.argmax(1), lengths), lengths)
