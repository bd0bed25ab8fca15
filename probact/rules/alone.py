"""A search of one function by a surrogate, on numpy's arrays and plain numbers: the numbers of many, in less time."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from torch import Tensor

from probact.rules.surrogate import Beliefs, Proposal, Surrogate
from probact.support.arrays import Array

NOTHING = np.empty(0)


class Ahead(NamedTuple):
    """The next query ``(d,)``, what it is expected to gain, and what halting is told, ``(F',)``."""

    query: Array
    expected: float
    features: Array = NOTHING


class ModelOfOne:
    """``ModelBased`` under way on one function; each ``step`` is that of the rule.

    :param lengths: ``(1, G)``, a grid of length-scales.
    :param num_features: F'.
    """

    def __init__(self, surrogate: Surrogate, dim: int, lengths: Tensor, num_features: int = 0) -> None:
        self.surrogate, self.dim, self.num_features = surrogate, dim, num_features
        self.num = 0
        self._beliefs = Beliefs(*(part.numpy() for part in surrogate.init(1, dim, lengths)))

    def step(self, x: Array, y: float) -> Ahead:
        """What to ask after ``y`` at ``x (d,)``; the first time, where nothing is known yet, the centre."""
        self.num += 1
        if self.num == 1:
            return Ahead(np.full(self.dim, 0.5), math.inf, np.zeros(self.num_features))
        with np.errstate(all="ignore"):
            self._beliefs = self.surrogate.take_in(self._beliefs, x[None], np.array([y]))
            found = self.surrogate.propose(self._beliefs)
            return self._ahead(x, y, self._beliefs, found)

    def _ahead(self, x: Array, y: float, beliefs: Beliefs, found: Proposal) -> Ahead:
        return Ahead(found.x[0], float(found.expected[0]) if found.unit[0] > 0 else math.inf)
