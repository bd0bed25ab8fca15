"""A search of one function under way, on plain numbers: what ``unrolling.search`` does, in a third of the time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from probact.inference.posteriors.base import HaltingPosterior
from probact.rules.alone import Ahead, ModelOfOne
from probact.rules.base import STAND_IN_LOSS
from probact.stopping.base import Known
from probact.support.cells import GRUOfOne, numbers_of
from probact.unrolling.progress_of_one import ProgressOfOne


def _number(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


class HeadOfOne:
    """A ``HaltingPosterior`` followed on one function."""

    def __init__(self, posterior: HaltingPosterior) -> None:
        self.distribution = posterior.distribution
        self.cell, self.hidden = GRUOfOne(posterior.memory), np.zeros(posterior.memory.hidden_size)
        self.weight, self.bias = numbers_of(posterior.output.weight)[0], float(posterior.output.bias)
        self.halted = _number(0.0)

    def step(self, features: Any) -> tuple[Tensor, Tensor]:
        """Hazard and mass spent so far, ``(1,)``, after ``features (F,)``."""
        self.hidden = self.cell(features, self.hidden)
        hazard = self.distribution.hazard(_number(float(self.weight @ self.hidden) + self.bias), self.halted)
        self.halted = self.halted + (1 - self.halted) * hazard
        return hazard, self.halted


class SearchOfOne:
    """Queries and answers of one function; all values in nats are those above the first one, as in ``Search``.

    :param scale: how many units of f a nat stands for.
    """

    def __init__(self, rule: ModelOfOne, scale: float, posterior: HaltingPosterior | None) -> None:
        self.rule, self.scale = rule, scale
        self.head = None if posterior is None else HeadOfOne(posterior)
        self.progress = ProgressOfOne()
        self.step = 0
        self.lowest, self.highest, self.first, self.y = math.inf, -math.inf, 0.0, 0.0
        self.ahead = self._look(np.full(rule.dim, 0.5))[0]

    def propose(self) -> list[float]:
        """The next query, d numbers."""
        query: list[float] = self.ahead.query.tolist()
        return query

    def answer(self, value: float, at: Sequence[float]) -> Known:
        """What is known after f at ``at``; not finite where it is not known."""
        usable = math.isfinite(value) and math.isfinite(value / self.scale)
        none = self.highest == -math.inf
        self.y = value if usable else 0.0 if none else self.highest
        if usable:
            self.first = value if none else self.first
            self.lowest, self.highest = min(value, self.lowest), max(value, self.highest)
        self.step += 1
        self.ahead, told = self._look(np.array(at, float))
        hazard, halted = (None, None) if self.head is None else self.head.step(told)
        loss = STAND_IN_LOSS if self.highest == -math.inf else self._above_first()
        return Known(self.step, _number(loss), _number(0.0), hazard, halted, _number(self.ahead.expected / self.scale))

    def _above_first(self) -> float:
        return (self.y - self.first) / self.scale

    def _look(self, at: Any) -> tuple[Ahead, Any]:
        """Work out the next query after the last value, at ``at (d,)``; with it what the head is told, ``(F,)``."""
        ahead = self.rule.step(at, self.y)
        if self.head is None:
            return ahead, None
        update = ahead.query - at
        told = self.progress.take_in(self._above_first(), 0.0, 0.0, float(update @ update))
        return ahead, np.concatenate([ahead.features, told])
