"""``progress`` of one problem, on plain numbers: the same features in a tenth of the time."""

from __future__ import annotations

import math

from probact.support.arrays import NUMBERS
from probact.unrolling.progress import DECAY, SCALES, SMALL


def _signed_log(value: float) -> float:
    return NUMBERS.sign(value) * math.log1p(abs(value))  # type: ignore[no-any-return]


def _told(value: float) -> float:
    """Within the numbers that a head is told."""
    return min(max(value, -100.0), 100.0) if math.isinf(value) else (0.0 if math.isnan(value) else value)


class ProgressOfOne:
    """What ``progress.take_in`` remembers and tells of one problem.

    :ivar num_steps: how many were taken in.
    """

    def __init__(self) -> None:
        self.num_steps = 0
        self._first = self._last = self._best = self._log_norm = self._drop = self._promise = 0.0

    def take_in(self, loss: float, square: float, promise: float, length: float) -> list[float]:
        """The 15 features at theta_t from what ``progress.measure`` gives there, in its order."""
        log_norm, log_length = (0.5 * math.log(number + SMALL) for number in (square, length))
        if not self.num_steps:
            self._first = self._last = self._best = loss
            self._log_norm = log_norm
        self.num_steps += 1
        self._best = self._best if self._best <= loss or math.isnan(self._best) else loss
        drop, change = self._last - loss, log_norm - self._log_norm
        weight = max(1 / self.num_steps, 1 - DECAY)
        self._drop += weight * (drop - self._drop)
        self._promise += weight * (promise - self._promise)
        self._last, self._log_norm = loss, log_norm
        features = (
            _signed_log(loss),
            log_norm,
            change,
            *map(_signed_log, (10 * drop, 10 * self._drop, 10 * (self._first - loss), 10 * (loss - self._best))),
            *map(_signed_log, (10 * promise, 10 * self._promise)),
            math.log(self.num_steps),
            log_length,
            math.log(abs(drop) + 1e-8),
            NUMBERS.sign(drop),
            math.log(abs(promise) + 1e-8),
            NUMBERS.sign(promise),
        )
        return [_told(feature * scale) for feature, scale in zip(features, SCALES, strict=True)]
