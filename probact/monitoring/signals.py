"""What is read off a curve, look by look: signals in units of the loss, and features that are free of them.

A signal depends on the looks so far only, and only through their differences: a constant added to every loss changes
nothing.  ``features`` divides those that are losses by the price of a look, so that multiplying losses and price by
one number changes nothing either.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WINDOWS = (3, 6, 12, 24)
"""Over how many of the last looks a trend is fitted."""
TREND_WINDOW = max(WINDOWS)
LOSSES = (
    "drop of this look",
    "what it gains on the best look before",
    "fall from the first look to the best",
    "rise from the first look to the worst",
    *(f"fall of the best in {window} looks" for window in WINDOWS),
    "fall of the best in the last half",
    "fall of the best in the quarter before it",
    "fall of the best in the last half, a look",
    "fall of the training loss in 6 looks",
    *(f"slope over {window} looks" for window in WINDOWS),
    *(f"standard error of the slope over {window} looks" for window in WINDOWS),
    "noise as told",
    "noise as the jitter of 24 looks shows it",
)
PLAIN = (
    "log looks",
    "log looks since the best",
    "looks since the best, a look",
    "log ratio of the falls of half and quarter",
    "log points of a look",
    "log fall in units of the jitter",
    "whether there is a training loss",
    *(f"t of the slope over {window} looks" for window in WINDOWS),
)
NUM_FEATURES = len(LOSSES) + len(PLAIN)
TINY = 1e-300


class Signals(NamedTuple):
    """Of one look at N curves: ``losses (N, len(LOSSES))`` in units of the loss, ``plain (N, len(PLAIN))`` without."""

    losses: Array
    plain: Array


def features(signals: Signals, price: Array) -> NDArray[np.float32]:
    """``(..., N, F)`` for the ``price (..., N)`` of a look, in units of the loss."""
    prices = signals.losses / price[..., None]
    logs = np.sign(prices) * np.log1p(4 * np.abs(prices)) / 3  # linear well below a price, logarithmic above
    return np.concatenate([logs, signals.plain], -1).astype(np.float32)


class _Trend(NamedTuple):
    """Least squares over the last looks of each window, as weights of the last ``there`` looks, the oldest first.

    :ivar slope: ``(there, W)``, gives the fall a look.
    :ivar member: ``(there, W)``, 1 in the window.
    :ivar size, spread: ``(W,)``, looks in the window and the sum of squares of their numbers about the mean.
    """

    slope: Array
    member: Array
    size: Array
    spread: Array

    @classmethod
    def over(cls, there: int) -> _Trend:
        slope, member = np.zeros((2, there, len(WINDOWS)))
        for place, window in enumerate(WINDOWS):
            used = min(window, there)
            steps = np.arange(used) - (used - 1) / 2
            member[there - used :, place] = 1
            slope[there - used :, place] = -steps / max((steps**2).sum(), 1)
        size = member.sum(0)
        return cls(slope, member, size, np.maximum(size * (size**2 - 1) / 12, 1))

    def fit(self, values: Array) -> tuple[Array, Array]:
        """Fall a look and its standard error, each ``(N, W)``, of ``values (N, there)``."""
        values = values - values[:, -1:]
        slope = values @ self.slope
        total = values @ self.member
        rest = (values**2) @ self.member - total**2 / self.size - slope**2 * self.spread
        freedom = np.maximum(self.size - 2, 1)
        return slope, np.sqrt(np.maximum(rest, 0) / freedom / self.spread)


_TRENDS = [_Trend.over(there) for there in range(TREND_WINDOW + 1)]


class CurveMemory:
    """The looks so far at N curves, one more with each ``take_in``.

    :ivar num_looks: how many there were.
    :ivar best: ``(N,)``, the smallest loss so far; inf before a finite one.
    :ivar best_look: ``(N,)``, its look, from 1; 0 before a finite one.
    """

    def __init__(self, num: int) -> None:
        self.num_looks = 0
        self.best = np.full(num, np.inf)
        self.best_look = np.zeros(num, dtype=np.int64)
        self._seen = np.zeros((3, num, 64))  # loss, best loss, training loss of each look

    def take_in(
        self, loss: Array, train: Array | None = None, noise: Array | None = None, samples: Array | None = None
    ) -> tuple[NDArray[np.bool_], Signals]:
        """Which looks are a new best, ``(N,)``, and what this one shows.

        A loss that is not finite is a look that brought nothing: it counts as high as the worst before it.

        :param loss: ``(N,)``.
        :param train: ``(N,)``, the training loss, or NaN.
        :param noise: ``(N,)``, standard error of this look; 0 where it is not known.
        :param samples: ``(N,)``, over how many points a look is a mean; 0 where that is not known.
        """
        place = self.num_looks
        if place == self._seen.shape[2]:
            self._seen = np.concatenate([self._seen, np.zeros_like(self._seen)], 2)
        self.num_looks += 1
        is_best = np.isfinite(loss) & (loss < self.best)
        begins = is_best & np.isinf(self.best)
        if begins.any():
            self._seen[:2, begins, :place] = loss[begins, None]
        worst = self._seen[0, :, : max(place, 1)].max(1)
        before = np.where(begins, loss, self.best)
        self.best = np.where(is_best, loss, self.best)
        self.best_look[is_best] = self.num_looks
        value = np.where(np.isfinite(loss), loss, worst)
        self._seen[:, :, place] = (
            value,
            np.where(np.isfinite(self.best), self.best, value),
            loss if train is None else train,
        )
        none = np.zeros(len(loss))
        gain = np.where(np.isfinite(before), before, value) - value
        told, points = (none if given is None else given for given in (noise, samples))
        return is_best, self._signals(gain, np.maximum(worst, value), told, points, train is not None)

    def _signals(self, gain: Array, worst: Array, told: Array, points: Array, has_train: bool) -> Signals:
        """What the last look shows."""
        n = self.num_looks
        loss, best, train = self._seen[:, :, :n]
        recent = loss[:, -TREND_WINDOW:]
        slope, error = _TRENDS[recent.shape[1]].fit(recent)
        now, half, quarter = best[:, -1], best[:, (n - 1) // 2], best[:, (n - 1) // 4]
        fall, late, early = best[:, 0] - now, half - now, quarter - half
        drop = loss[:, max(n - 2, 0)] - loss[:, -1]
        train_fall = train[:, max(n - 7, 0)] - train[:, -1]
        jitter = np.abs(np.diff(recent, n=2, axis=1)).mean(1) / 1.95 if n > 2 else np.zeros(len(now))
        since = n - np.maximum(self.best_look, 1)
        falls = [best[:, max(n - 1 - window, 0)] - now for window in WINDOWS]
        knows = np.isfinite(train_fall) & has_train
        losses = [drop, gain, fall, worst - loss[:, 0], *falls, late, early, 2 * late / n]
        losses += [np.where(knows, train_fall, 0.0), *slope.T, *error.T, told, jitter]
        grain = 1e-3 * fall + TINY
        plain = [np.full(len(now), np.log(n) / 3), np.log1p(since) / 2, since / n]
        plain += [np.clip(np.log((late + grain) / (early + grain)), -5, 5) / 3, np.log1p(points) / 4]
        plain += [np.log1p(np.minimum(fall / (jitter + TINY), 1e5)) / 4, knows]
        t = np.clip(slope / (error + 1e-3 * np.abs(slope) + TINY), -8, 8) / 4
        return Signals(np.stack(losses, 1), np.concatenate([np.stack(plain, 1), t], 1))

    @property
    def losses(self) -> Array:
        """``(N, n)``, of each look; one that is not finite stands as the worst before it."""
        return self._seen[0, :, : self.num_looks]

    def to_state(self) -> dict[str, Any]:
        """All of it, as arrays."""
        return {
            "best": self.best.copy(),
            "best_look": self.best_look.copy(),
            "seen": self._seen[:, :, : self.num_looks].copy(),
        }

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> CurveMemory:
        """What gave ``state``."""
        memory = cls(len(state["best"]))
        memory.best, memory.best_look = state["best"].copy(), state["best_look"].copy()
        memory.num_looks = state["seen"].shape[2]
        memory._seen = np.concatenate([state["seen"], np.zeros((3, len(memory.best), 64))], 2)
        return memory


def signals_of(loss: Array, train: Array | None = None, samples: Array | None = None) -> tuple[Array, Signals]:
    """The best look up to each, ``(K, N)`` from 1, and the signals ``(K, N, ...)`` of whole curves ``loss (K, N)``."""
    memory, best_look, rows = CurveMemory(loss.shape[1]), [], []
    for look, row in enumerate(loss):
        _, signals = memory.take_in(row, None if train is None else train[look], None, samples)
        best_look.append(memory.best_look.copy())
        rows.append(signals)
    return np.stack(best_look), Signals(*(np.stack(part) for part in zip(*rows, strict=True)))
