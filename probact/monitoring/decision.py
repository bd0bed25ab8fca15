"""At which look each curve stops, and why: by its hazards, by what going on has paid, and by what is finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probact.monitoring.signals import Array

STOP_AT = 0.5
RECENT = 10
"""A curve stops where a share of ``STOP_AT`` of what q(t|x) had left so many looks ago is spent: at its median, except
that the small hazards of a long run do not add up."""
TIMES, PATIENCE = 3, 100
"""It never goes on beyond ``TIMES`` the look up to which going on had paid, and ``PATIENCE`` looks: for what no head
has seen.  30 in place of 100 costs .05 of the gain on texts at 1e-4 a look, whose losses fall late after a rise."""
NOT_FINITE = 10
"""After so many looks in a row that are not finite a curve is stopped."""


class Decision:
    """Of N curves.

    :ivar stopped_at: ``(N,)`` int64, the look at which each stopped, from 1; 0 before.
    :ivar reasons: why, in words.
    :ivar hazards: of each look, ``(N,)``.
    """

    def __init__(self, num: int, minimum: int, maximum: int | None) -> None:
        self.stopped_at, self._lost = np.zeros((2, num), dtype=np.int64)
        self.reasons: list[str | None] = [None] * num
        self.hazards: list[Array] = []
        self._paid = np.full((2, num), np.inf)  # the lowest of best loss + price of the looks so far, and its look
        self._minimum, self._maximum = minimum, maximum

    def take_in(self, finite: NDArray[np.bool_], hazard: Array, cost: Array) -> None:
        """One look, each ``(N,)``.

        :param finite: whether the loss is.
        :param cost: best loss so far and the price of all looks; inf before a finite loss.
        """
        self.hazards.append(hazard)
        look = len(self.hazards)
        self._lost = np.where(finite, 0, self._lost + 1)
        pays = cost < self._paid[0]
        self._paid[0, pays], self._paid[1, pays] = cost[pays], look
        halts = 1 - np.multiply.reduce(1 - np.array(self.hazards[-RECENT:]), 0) >= STOP_AT
        is_long = look > TIMES * self._paid[1] + PATIENCE
        if look < self._minimum or not (halts.any() or is_long.any() or self._lost.any() or look == self._maximum):
            return
        cases = (
            (halts & finite, "another look is not expected to be worth its price"),
            (is_long & finite, "it went on for three times as long as that had paid, and more"),
            (self._lost >= NOT_FINITE, f"the last {NOT_FINITE} losses were not finite"),
            (np.full(len(finite), look == self._maximum), "maximum_looks was reached"),
        )
        for fires, reason in cases:
            for row in np.flatnonzero(fires & (self.stopped_at == 0)):
                self.stopped_at[row], self.reasons[row] = look, reason

    @property
    def table(self) -> Array:
        """The hazards, ``(looks, N)``."""
        return np.array(self.hazards).reshape(len(self.hazards), len(self.reasons))

    def to_state(self) -> dict[str, Any]:
        """All of it."""
        return {
            "stopped_at": torch.from_numpy(self.stopped_at.copy()),
            "reasons": list(self.reasons),
            "hazards": torch.from_numpy(self.table),
            "lost": torch.from_numpy(self._lost.copy()),
            "paid": torch.from_numpy(self._paid.copy()),
        }

    def at(self, state: dict[str, Any], num_looks: int) -> Decision:
        """The same where another stood, after ``num_looks``.

        :raises ValueError: if ``state`` is not one of so many curves and looks.
        """
        num = len(self.reasons)
        other = Decision(num, self._minimum, self._maximum)
        tables = {**other.to_state(), "hazards": torch.zeros(num_looks, num, dtype=torch.float64)}
        if len(reasons := list(state["reasons"])) != num:
            raise ValueError(f"reasons: expected {num}, got {len(reasons)}")
        other.reasons = reasons
        other.stopped_at, other._lost, other._paid = (
            like(state[name], tables[name], name) for name in ("stopped_at", "lost", "paid")
        )
        other.hazards = list(like(state["hazards"], tables["hazards"], "hazards"))
        return other


def like(given: Any, expected: Tensor, name: str) -> NDArray[Any]:
    """A copy of ``given`` as a table.

    :raises ValueError: if it has another shape or type than ``expected``.
    """
    if not isinstance(given, Tensor) or given.shape != expected.shape or given.dtype != expected.dtype:
        raise ValueError(f"{name}: expected a tensor of {expected.dtype} of shape {tuple(expected.shape)}")
    return given.numpy().copy()
