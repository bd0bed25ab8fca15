"""Training curves at a price of a look: what stopping costs, what would have been best, and what was lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from probact.curves.corpus import Curves
from probact.support.refusals import check_range

Array = np.ndarray


class Price(NamedTuple):
    """What one look costs.

    :ivar value: in units of the loss, or, where ``relative``, as a share of the size of each curve's first loss.
    """

    value: float
    relative: bool = False

    def __str__(self) -> str:
        return f"{self.value:g} of the first loss" if self.relative else f"{self.value:g}"

    def checked(self) -> Price:
        """Itself.

        :raises ValueError: if no look costs anything, or less than nothing.
        """
        check_range("--relative-price" if self.relative else "--price", above=0, price=self.value)
        return self


class Looks(NamedTuple):
    """What a way to stop may see: N curves in units of the price of a look, ``(N, K+1)`` float64, all finite.

    Row n is look t at column t up to ``lengths[n]``; what comes later is its last look again.  A loss that is not
    finite is the worst finite one before it.

    :ivar valid, train: mean losses of the validation and of the training data.
    :ivar lost: ``(N, K+1)``, where the validation loss was not finite.
    :ivar num_valid: ``(N,)``, points of the validation data.
    """

    valid: Array
    train: Array
    lost: Array
    lengths: Array
    num_valid: Array

    def select(self, chosen: Array | slice) -> Looks:
        return Looks(*(field[chosen] for field in self))

    @classmethod
    def joined(cls, parts: Sequence[Looks]) -> Looks:
        """The curves of all ``parts``, which are of the same K."""
        return cls(*map(np.concatenate, zip(*parts, strict=True)))


class Priced(NamedTuple):
    """N curves at a price.

    :ivar looks: what a way to stop sees.
    :ivar J: ``(N, K+1)`` test[i*(t)] + c t in units of the loss, i*(t) the best look up to t by validation; inf after
        a curve's last look.
    :ivar least: ``(N,)`` J of the hindsight oracle, min_t J over t = 0..K.
    :ivar price: ``(N,)`` c in units of the loss.
    """

    looks: Looks
    J: Array
    least: Array
    price: Array

    @classmethod
    def of(cls, curves: Curves, price: Price) -> Priced:
        """``curves`` at ``price``; see ``judged`` for those that cannot be judged."""
        valid, train = (_finite(losses) for losses in (curves.valid, curves.train))
        first = np.abs(valid[:, 0])
        c = price.value * first if price.relative else np.full(len(first), price.value)
        returned = best_so_far(valid)
        test = np.take_along_axis(_finite(curves.test), returned, 1)
        t = np.arange(valid.shape[1])
        J = np.where(t <= curves.lengths[:, None], test + c[:, None] * t, math.inf)
        lost = ~np.isfinite(curves.valid) & (t <= curves.lengths[:, None])
        scale = c[:, None]
        looks = Looks(valid / scale, train / scale, lost, np.asarray(curves.lengths), np.asarray(curves.num_valid))
        return cls(looks, J, J.min(1), c)

    @property
    def oracle(self) -> Array:
        """``(N,)``, argmin_t J over t = 0..K: known only in hindsight."""
        return self.J.argmin(1)

    def cost(self, stop: Array) -> Array:
        """``(N,)``, J of stopping at ``stop (N,)``."""
        return np.take_along_axis(self.J, stop[:, None], 1)[:, 0]

    def regret(self, stop: Array) -> Array:
        """``(N,)``, J at ``stop`` less that of the oracle."""
        return self.cost(stop) - self.least

    def gain(self) -> Array:
        """``(N,)``, the possible net gain: J of never beginning less that of the oracle."""
        return self.J[:, 0] - self.least


def judged(curves: Curves) -> Curves:
    """Those that can be judged: their first losses are finite, and the validation loss is not 0.

    :raises ValueError: if none can.
    """
    first = np.stack([losses[:, 0] for losses in (curves.train, curves.valid, curves.test)])
    usable = np.isfinite(first[1:]).all(0) & (first[1] != 0) & (np.asarray(curves.lengths) > 0)
    if not usable.any():
        raise ValueError(f"{curves.name}: expected curves of two looks or more that begin with finite losses, got none")
    return curves if usable.all() else curves.select(usable)


def best_so_far(valid: Array) -> Array:
    """``(N, K+1)``, i*(t): the first look up to t with the smallest ``valid (N, K+1)``."""
    t = np.arange(valid.shape[1])
    lowest = np.minimum.accumulate(valid, 1)
    new = np.concatenate([np.ones((len(valid), 1), bool), lowest[:, 1:] < lowest[:, :-1]], 1)
    return np.maximum.accumulate(np.where(new, t, 0), 1)


class Share(NamedTuple):
    """sum regret / sum possible net gain over the curves of a data set, with its standard error over them.

    NaN where nothing was to be gained: every curve had better not begun.
    """

    value: float
    error: float


def regret_share(regret: Array, gain: Array) -> Share:
    """Of ``regret (N,)`` in ``gain (N,)``; the error is that of a ratio of means (delta method, Cochran 1977, 6.4)."""
    num, total = len(gain), float(gain.sum())
    if not total > 0:
        return Share(math.nan, math.nan)
    value = float(regret.sum()) / total
    spread = float((regret - value * gain).std(ddof=1)) if num > 1 else math.nan
    return Share(value, spread * math.sqrt(num) / total)


def mean_and_error(values: Sequence[float] | Array, groups: Sequence[str] | None = None) -> tuple[float, float]:
    """Of the values that are known, with the standard error of the mean; NaN where that needs more of them.

    :param groups: of each value; those of one group are not taken for independent (Cameron and Miller 2015, eq 11).
    """
    given = np.asarray(values, float)
    known = np.isfinite(given)
    if not known.any():
        return math.nan, math.nan
    mean = float(given[known].mean())
    number = np.unique(groups, return_inverse=True)[1] if groups is not None else np.arange(len(given))
    of_groups = np.bincount(number[known], given[known] - mean)[np.unique(number[known])]
    if len(of_groups) < 2:
        return mean, math.nan
    return mean, math.sqrt((of_groups**2).sum() * len(of_groups) / (len(of_groups) - 1)) / int(known.sum())


def _finite(losses: Array) -> Array:
    """``losses (N, K+1)`` in float64, what is not finite replaced: NaN by the loss before, inf by the worst before."""
    given = np.asarray(losses, float)
    finite = np.isfinite(given)
    worst = np.maximum.accumulate(np.where(finite, given, -math.inf), 1)
    filled = np.where(finite, given, np.where(np.isnan(given) | np.isneginf(worst), math.nan, worst))
    t = np.where(np.isnan(filled), 0, np.arange(given.shape[1]))
    return np.take_along_axis(filled, np.maximum.accumulate(t, 1), 1)
