"""Ways to stop that say what going on will bring: from the last falls, or from the whole curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from probact.judging.curves.base import CurveRule
from probact.judging.curves.prices import Array, Looks

EXPONENTS = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""c of the power laws that are fitted."""


@dataclass(frozen=True)
class TTest(CurveRule):
    """The mean fall of the validation loss over the last w looks, less the price, is not z standard errors above 0.

        score(t) = -(m - 1) / (s / sqrt w),   m, s: mean and standard deviation of the last w falls

    of the validation loss, in prices; it stops at a score of -z or more.  Where all w falls are the same, s = 0, the
    sign of m - 1 decides.

    :ivar window: w, 2 or more.
    """

    window: int = 12

    def scores(self, looks: Looks) -> Array:
        found, w = np.full(looks.valid.shape, -np.inf), self.window
        falls = -np.diff(looks.valid, axis=1)
        count = falls.shape[1] - w + 1
        if count < 1:
            return found
        mean = sum(falls[:, i : i + count] for i in range(w)) / w
        square = sum((falls[:, i : i + count] - mean) ** 2 for i in range(w)) / (w - 1)
        over, error = mean - 1, np.sqrt(square / w)
        with np.errstate(divide="ignore", invalid="ignore"):
            found[:, w:] = np.where(error > 0, -over / error, np.where(over > 0, -np.inf, np.inf))
        return found

    def describe(self, threshold: float) -> str:
        return f"last {self.window} falls, z {-threshold:g}"


@dataclass(frozen=True)
class PowerLaw(CurveRule):
    """A power law fitted to looks 0..t says that the next look falls by less than a share of the price.

        valid(t) = a + b (t + 1)^-c,   a and b >= 0 by least squares, c that of ``EXPONENTS`` with the smallest error

    Its falls shrink, so that the gain of all the looks to the best time to stop is above their price just where the
    next look's is above its own: score(t) = -b ((t + 1)^-c - (t + 2)^-c), in prices; it stops at -1, or, where tuned,
    at another share.  Losses above the first one count as the first: one spike would bend the whole fit.

    :ivar least: it says nothing before so many looks.
    """

    least: int = 5

    def scores(self, looks: Looks) -> Array:
        first = looks.valid[:, :1]
        y = np.minimum(looks.valid - first, 0.0)
        t = np.arange(1, y.shape[1] + 1, dtype=float)
        mean_y = np.cumsum(y, 1) / t
        spread_y = np.maximum(np.cumsum(y**2, 1) - t * mean_y**2, 0)
        least_error, fall = np.full(y.shape, np.inf), np.zeros(y.shape)
        for c in EXPONENTS:
            x = t**-c
            mean_x = np.cumsum(x) / t
            spread_x = np.cumsum(x**2) - t * mean_x**2
            shared = np.cumsum(x * y, 1) - t * mean_x * mean_y
            b = np.maximum(shared / np.maximum(spread_x, 1e-12), 0)
            error = spread_y - b * shared
            better = error < least_error
            least_error = np.where(better, error, least_error)
            fall = np.where(better, b * (x - (t + 1) ** -c), fall)
        found = -fall
        found[:, : self.least] = -np.inf
        return found

    def describe(self, threshold: float) -> str:
        return f"next fall < {-threshold:g} prices, from look {self.least} on"
