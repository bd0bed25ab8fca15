"""The learned head on recorded curves: where it stops, what it forecasts, and whether that comes true."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from probact.judging.calibration import reliability
from probact.judging.curves.prices import Array, Looks, Priced
from probact.judging.curves.results import ForecastRow
from probact.judging.results import Calibration
from probact.monitoring.head import AHEAD, LEVELS, CurveHead
from probact.monitoring.monitor import HaltingMonitor


class Trace(NamedTuple):
    """What a monitor says at every look of N curves, ``(N, K+1)``, whether it has stopped before or not.

    :ivar stop: ``(N,)`` int64, the look it stops at, the last one of the curve where it does not.
    :ivar hazard: q(t|x) / q(t' >= t|x).
    :ivar pays: k -> probability that k more looks are worth their price.
    :ivar gain: ``(N, K+1, len(LEVELS))`` quantiles of what going on brings until q halts, in prices.
    """

    stop: Array
    hazard: Array
    pays: dict[int, Array]
    gain: Array

    def select(self, chosen: slice) -> Trace:
        pays = {k: said[chosen] for k, said in self.pays.items()}
        return Trace(self.stop[chosen], self.hazard[chosen], pays, self.gain[chosen])

    @property
    def halted(self) -> Array:
        """``(N, K+1)``, sum of q(s|x) over s <= t."""
        return 1 - np.cumprod(1 - self.hazard, 1)


class Head(NamedTuple):
    """A trained head.

    :ivar name: of a shipped one, or its file.
    :ivar trained_on: names of the data sets that its training saw.
    """

    name: str
    trained_on: tuple[str, ...]

    @classmethod
    def of(cls, name: str) -> Head:
        """The shipped head or the file ``name``.

        :raises ValueError: if there is neither.
        """
        return cls(name, tuple(filter(None, CurveHead.load(name).said.get("sets", "").split(", "))))

    def traces(self, prices: Sequence[Priced]) -> list[Trace]:
        """Of the same curves at each of ``prices``, all followed at once."""
        found = self.trace(Looks.joined([priced.looks for priced in prices]))
        num = len(prices[0].price)
        return [found.select(slice(first, first + num)) for first in range(0, num * len(prices), num)]

    def trace(self, looks: Looks) -> Trace:
        """Of ``looks``, each curve with its number of validation points."""
        num, width = looks.valid.shape
        found = Trace(
            np.zeros(num, np.int64),
            np.zeros((num, width)),
            {k: np.zeros((num, width)) for k in AHEAD},
            np.zeros((num, width, len(LEVELS))),
        )
        for points in np.unique(looks.num_valid):
            rows = np.flatnonzero(looks.num_valid == points)
            self._follow(looks.select(rows), int(points), rows, found)
        return found

    def _follow(self, looks: Looks, points: int, rows: Array, found: Trace) -> None:
        """Fill ``rows`` of ``found``, those of ``looks``, which are all means over so many ``points``."""
        monitor = HaltingMonitor(1.0, name=self.name, num=len(rows), samples=points or None)
        valid = np.where(looks.lost, np.inf, looks.valid)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "HaltingMonitor: it stopped", UserWarning)  # it is to forecast on
            for t in range(valid.shape[1]):
                monitor.update(valid[:, t], train_loss=looks.train[:, t])
                found.hazard[rows, t] = monitor.hazard
                found.gain[rows, t] = np.stack(monitor.expected_gain, -1)
                for k in AHEAD:
                    found.pays[k][rows, t] = monitor.pays(k)
        stopped = monitor.stopped_at
        found.stop[rows] = np.where(stopped > 0, np.minimum(stopped - 1, looks.lengths), looks.lengths)


def forecasts(data_set: str, head: str, prices: Sequence[Priced], traces: Sequence[Trace]) -> Iterator[ForecastRow]:
    """How far what ``head`` said of the curves of ``data_set``, at every price, came true.

    It is held against what stopping returns, the test loss of the best look by validation loss: k more looks pay where
    J(t + k) < J(t); more looks than t do not pay where the oracle's stop is t or earlier.  Looks so near the end of
    their curve that nobody knows are left out.
    """
    pairs = list(zip(prices, traces, strict=True))
    for k in AHEAD:
        said, came = [], []
        for priced, trace in pairs:
            later, known = priced.J[:, k:], np.isfinite(priced.J[:, k:])
            said.append(trace.pays[k][:, : later.shape[1]][known])
            came.append((later < priced.J[:, : later.shape[1]])[known])
        yield _row(data_set, head, f"another {k} look{'s' * (k > 1)} will pay", said, came)
    open_ = [np.isfinite(priced.J[:, 1:]) for priced in prices]
    said = [trace.halted[:, :-1][known] for trace, known in zip(traces, open_, strict=True)]
    came = [_best_is_past(priced)[known] for priced, known in zip(prices, open_, strict=True)]
    yield _row(data_set, head, "no later look will pay: q(t <= s | x)", said, came)
    yield _quantiles(data_set, head, pairs)


def _best_is_past(priced: Priced) -> Array:
    return priced.oracle[:, None] <= np.arange(priced.J.shape[1] - 1)


def _row(data_set: str, head: str, forecast: str, said: Sequence[Array], came: Sequence[Array]) -> ForecastRow:
    found = (
        reliability(np.concatenate(said), np.concatenate(came))
        if any(map(len, said))
        else Calibration(predicted=(), observed=(), entries=(), error=np.nan)
    )
    return ForecastRow(data_set=data_set, head=head, forecast=forecast, **vars(found))


def _quantiles(data_set: str, head: str, pairs: Sequence[tuple[Priced, Trace]]) -> ForecastRow:
    """How often the gain of going on stays below each of its quantiles."""
    below, entries = np.zeros(len(LEVELS)), 0
    for priced, trace in pairs:
        gain, known = gain_of_going_on(priced, trace.hazard), np.isfinite(priced.J[:, 1:])
        below += (gain[:, :-1, None] <= trace.gain[:, :-1])[known].sum(0)
        entries += int(known.sum())
    observed = below / max(entries, 1)
    return ForecastRow(
        data_set=data_set,
        head=head,
        forecast="the gain of going on is below its quantile",
        predicted=LEVELS,
        observed=tuple(observed.tolist()),
        entries=(entries,) * len(LEVELS),
        error=float(np.abs(observed - LEVELS).mean()),
    )


def gain_of_going_on(priced: Priced, hazard: Array) -> Array:
    """``(N, K+1)``, in prices: G(t) = (J(t) - J(t+1)) / c + (1 - hazard(t+1)) G(t+1), 0 from the last look on."""
    gain = np.zeros_like(priced.J)
    for t in range(gain.shape[1] - 2, -1, -1):
        known = np.isfinite(priced.J[:, t + 1])
        fall = np.where(known, priced.J[:, t] - np.where(known, priced.J[:, t + 1], 0), 0) / priced.price
        gain[:, t] = np.where(known, fall + (1 - hazard[:, t + 1]) * gain[:, t + 1], 0)
    return gain
