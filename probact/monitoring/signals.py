"""What is read off a curve, look by look: signals in units of the loss, and features that are free of them.

A signal depends on the looks so far only.  ``features`` divides those that are losses by the price of a look, so that
multiplying losses and price by one number changes nothing.  All but two are differences, which a constant added to
every loss does not change; the two are the first loss and the best: most losses have their floor near 0, so that their
size says what there may be to gain while nothing has fallen yet.  Heads are trained with constants added, too.
"""

from __future__ import annotations

import math
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
    "first loss",
    "best loss",
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
NUM_FEATURES = len(LOSSES) + len(PLAIN) + len(WINDOWS)
_SLOPES = slice(LOSSES.index(f"slope over {WINDOWS[0]} looks"), LOSSES.index(f"slope over {WINDOWS[-1]} looks") + 1)
_ERRORS = slice(_SLOPES.stop, _SLOPES.stop + len(WINDOWS))
EARLY = 5
"""Up to this look a rise from the first is no news: warm-ups and large first steps do so."""
TINY = 1e-300
MOST_PRICES = 1e5
"""Losses count as so many prices at most, in either direction: more no head has seen."""
SECOND_DIFFERENCE = math.sqrt(12 / math.pi)
"""Mean size of v - 2 v' + v'' where those are independent, of variance 1: sqrt(6) sqrt(2 / pi)."""


class Signals(NamedTuple):
    """Of one look at N curves: ``losses (N, len(LOSSES))`` in units of the loss, ``plain (N, len(PLAIN))`` without."""

    losses: Array
    plain: Array


def features(signals: Signals, price: Array) -> NDArray[np.float32]:
    """``(..., N, F)`` for the ``price (..., N)`` of a look, in units of the loss.

    Besides the signals, t of every slope less the price: whether another look is worth it as things go.
    """
    prices = _within(signals.losses / price[..., None], MOST_PRICES)
    logs = np.sign(prices) * np.log1p(4 * np.abs(prices)) / 3  # linear well below a price, logarithmic above
    slope, error = prices[..., _SLOPES], prices[..., _ERRORS]
    t = _within((slope - 1) / (error + 0.1), 8) / 4
    return np.concatenate([logs, signals.plain, t], -1).astype(np.float32)


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


def _within(values: Array, bound: float) -> Array:
    return np.minimum(np.maximum(values, -bound), bound)  # np.clip costs three times as much on few values


def _jitter(recent: Array) -> Array:
    """Standard deviation of independent noise whose second differences are as large, ``(N,)``, of ``recent (N, n)``."""
    if recent.shape[1] < 3:
        return np.zeros(len(recent))
    second = np.abs(recent[:, 2:] - 2 * recent[:, 1:-1] + recent[:, :-2])
    return second.sum(1) / (second.shape[1] * SECOND_DIFFERENCE)


_TRENDS = [_Trend.over(there) for there in range(TREND_WINDOW + 1)]


class CurveMemory:
    """The looks so far at N curves, one more with each ``take_in``.

    A curve begins at its first finite loss; before it there is nothing to see.

    :ivar num_looks: how many there were.
    :ivar best: ``(N,)``, the smallest loss so far; inf before a finite one.
    :ivar best_look: ``(N,)``, its look, from 1; 0 before a finite one.
    """

    def __init__(self, num: int) -> None:
        self.num_looks = 0
        self.best = np.full(num, np.inf)
        self.best_look = np.zeros(num, dtype=np.int64)
        self._count = np.zeros(num, dtype=np.int64)  # looks since the first finite one, that included
        self._worst = np.zeros(num)
        self._was_finite = np.zeros(num, dtype=bool)
        self._seen = np.zeros((3, num, 64))  # loss, best loss, training loss of each look since then

    @property
    def has_begun(self) -> NDArray[np.bool_]:
        """``(N,)``, whether there was a finite loss."""
        return self._count > 0

    def take_in(
        self, loss: Array, train: Array | None = None, noise: Array | None = None, samples: Array | None = None
    ) -> tuple[NDArray[np.bool_], Signals]:
        """Which looks are a new best, ``(N,)``, and what this one shows: zeros where a curve has not begun.

        A loss that is not finite is a look that brought nothing: it stands as the loss before it, and from the second
        in a row on as the worst so far.

        :param loss: ``(N,)``.
        :param train: ``(N,)``, the training loss, or NaN.
        :param noise: ``(N,)``, standard error of this look; 0 where it is not known.
        :param samples: ``(N,)``, over how many points a look is a mean; 0 where that is not known.
        """
        self.num_looks += 1
        finite = np.isfinite(loss)
        is_best = finite & (loss < self.best)
        gain = np.where(np.isfinite(self.best), self.best, loss)  # of which the loss is taken off below
        self.best = np.where(is_best, loss, self.best)
        self.best_look[is_best] = self.num_looks
        begun = finite | (self._count > 0)
        if not (old := self._count > 0).all():
            self._worst = np.where(old, self._worst, loss)
        losses, plain = np.zeros((len(loss), len(LOSSES))), np.zeros((len(loss), len(PLAIN)))
        told, points = (np.zeros(len(loss)) if given is None else given for given in (noise, samples))
        places = self._count.copy()
        for place in set(places[begun].tolist()):
            here = begun & (places == place)
            rows = slice(None) if here.all() else np.flatnonzero(here)  # a view is ten times cheaper than a copy
            if place == self._seen.shape[2]:
                self._seen = np.concatenate([self._seen, np.zeros_like(self._seen)], 2)
            instead = np.where(self._was_finite[rows], self._seen[0, rows, max(place - 1, 0)], self._worst[rows])
            value = np.where(finite[rows], loss[rows], instead)
            self._worst[rows] = np.maximum(self._worst[rows], value)
            self._seen[:, rows, place] = value, self.best[rows], (loss if train is None else train)[rows]
            self._count[rows] = place + 1
            shown = self._signals(rows, place + 1, gain[rows] - value, told[rows], points[rows], train is not None)
            losses[rows], plain[rows] = shown
        self._was_finite = finite
        return is_best, Signals(losses, plain)

    def _signals(
        self, rows: NDArray[np.int64] | slice, n: int, gain: Array, told: Array, points: Array, has_train: bool
    ) -> Signals:
        """What the last of ``n`` looks shows at curves that began together, as ``LOSSES`` and ``PLAIN`` say."""
        W = len(WINDOWS)
        loss, best, train = self._seen[:, rows, :n]
        recent = loss[:, -TREND_WINDOW:]
        slope, error = _TRENDS[recent.shape[1]].fit(recent)
        now, jitter = best[:, -1], _jitter(recent)
        fall = best[:, 0] - now
        ago = np.maximum(n - 1 - np.array((*WINDOWS, 0, 0)), 0)
        ago[W:] = (n - 1) // 2, (n - 1) // 4
        falls = best[:, ago] - now[:, None]
        late, early = falls[:, W], falls[:, W + 1] - falls[:, W]
        losses = np.zeros((len(now), len(LOSSES)))
        losses[:, 0] = loss[:, max(n - 2, 0)] - loss[:, -1]
        losses[:, 1], losses[:, 2], losses[:, 3] = gain, fall, self._worst[rows] - loss[:, 0]
        losses[:, 4 : 5 + W] = falls[:, : W + 1]
        losses[:, 5 + W], losses[:, 6 + W] = early, 2 / n * late
        if has_train:
            train_fall = train[:, max(n - 7, 0)] - train[:, -1]
            losses[:, 7 + W] = np.where(np.isfinite(train_fall), train_fall, 0.0)
        losses[:, 8 + W : 8 + 2 * W], losses[:, 8 + 2 * W : 8 + 3 * W] = slope, error
        losses[:, -4], losses[:, -3], losses[:, -2], losses[:, -1] = best[:, 0], now, told, jitter
        since = self.num_looks - self.best_look[rows]
        grain = 1e-3 * fall + TINY
        plain = np.empty((len(now), len(PLAIN)))
        plain[:, 0], plain[:, 1], plain[:, 2] = math.log(n) / 3, np.log1p(since) / 2, since / n
        plain[:, 3] = _within(np.log((late + grain) / (early + grain)) / 3, 1.6)
        plain[:, 4], plain[:, 5] = (
            np.log1p(points) / 4,
            np.log1p(fall / np.maximum(np.maximum(jitter, 1e-5 * fall), TINY)) / 4,
        )
        plain[:, 6] = has_train and np.isfinite(train[:, -1])
        plain[:, 7:] = _within(slope / (error + 1e-3 * np.abs(slope) + TINY), 8) / 4
        return Signals(losses, plain)

    @property
    def rises_at_first(self) -> NDArray[np.bool_]:
        """``(N,)``, whether a curve is at most ``EARLY`` looks old, its last loss above its first, and none below."""
        if self._count.min() > EARLY:
            return np.zeros(len(self.best), dtype=bool)
        last = self._seen[0, np.arange(len(self.best)), np.maximum(self._count - 1, 0)]
        no_better = self.best == self._seen[0, :, 0]
        return (self._count <= EARLY) & no_better & (last > self._seen[0, :, 0])

    @property
    def losses(self) -> Array:
        """``(N, n)``, of each look: NaN before a curve begins; one that is not finite later as ``take_in`` says."""
        table = np.full((len(self.best), self.num_looks), np.nan)
        for row, count in enumerate(self._count):
            table[row, self.num_looks - count :] = self._seen[0, row, :count]
        return table

    def to_state(self) -> dict[str, Any]:
        """All of it, as arrays."""
        return {
            "best": self.best.copy(),
            "best_look": self.best_look.copy(),
            "count": self._count.copy(),
            "worst": self._worst.copy(),
            "was_finite": self._was_finite.copy(),
            "seen": self._seen[:, :, : self._count.max()].copy(),
            "num_looks": np.array(self.num_looks),
        }

    @classmethod
    def of_state(cls, state: dict[str, Any], num: int) -> CurveMemory:
        """What gave ``state``.

        :raises ValueError: if it is not one of ``num`` curves.
        """
        memory = cls(num)
        for name, own in memory.to_state().items():
            shape = (*own.shape[:2], int(state["count"].max())) if name == "seen" else own.shape
            if state[name].dtype != own.dtype or state[name].shape != shape:
                raise ValueError(f"{name}: expected a table of {own.dtype} of shape {shape}")
        memory.num_looks = int(state["num_looks"])
        memory.best, memory.best_look = state["best"].copy(), state["best_look"].copy()
        memory._count, memory._worst = state["count"].copy(), state["worst"].copy()
        memory._was_finite = state["was_finite"].copy()
        memory._seen = np.concatenate([state["seen"], np.zeros((3, num, 64))], 2)
        return memory


def signals_of(loss: Array, train: Array | None = None, samples: Array | None = None) -> tuple[Array, Signals]:
    """The best look up to each, ``(K, N)`` from 1, and the signals ``(K, N, ...)`` of whole curves ``loss (K, N)``."""
    memory, best_look, rows = CurveMemory(loss.shape[1]), [], []
    for look, row in enumerate(loss):
        _, signals = memory.take_in(row, None if train is None else train[look], None, samples)
        best_look.append(memory.best_look.copy())
        rows.append(signals)
    return np.stack(best_look), Signals(*(np.stack(part) for part in zip(*rows, strict=True)))
