"""A function of which nothing is known but the values that a user tells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from probact.problems.black_box import BlackBox
from probact.support.trees import Params


@dataclass(frozen=True)
class Told(BlackBox):
    """One function f, L = 1, whose values come from outside.

    :ivar price: of a query, in units of f, ``(1,)``; ``scale``: how many units of f a nat of the loss stands for.
    """

    price: Tensor
    scale: Tensor

    @classmethod
    def of(cls, dim: int, price: float, cost: float) -> Told:
        """On [0,1]^dim; ``cost`` is the price of a query in nats, as training charged it."""
        start = torch.full((1, dim), 0.5, dtype=torch.float64)
        return cls({"x": start}, start.new_full((1,), price), start.new_full((1,), price / cost))

    def given(self) -> Params:
        return {"price": self.price}

    def value(self, params: Params) -> Tensor:
        """Not known: as bad as can be."""
        return torch.full_like(self.price, math.inf)

    def nll_of(self, value: Tensor) -> Tensor:
        return value / self.scale

    def in_nats(self, gain: Tensor) -> Tensor:
        return gain / self.scale


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation of finite ``values``, without overflow; 0 where it is but rounding."""
    unit = max(map(abs, values), default=0.0) or 1.0
    mean = fmean(value / unit for value in values) if values else 0.0
    square = sum((value / unit - mean) ** 2 for value in values) / max(len(values) - 1, 1)
    return mean * unit, math.sqrt(square) * unit if square > 1e-24 else 0.0


def most_first(dim: int) -> int:
    """So many values tell the spread of f, if they are not all the same."""
    return 4 + 2 * dim


def num_first(num: int, dim: int) -> int:
    """How many of the first ``num`` finite values tell the spread of f: all up to 4 + 2 dim of them, and then those.

    From 4 on it is only worked out anew at 6, 8, 12, 16, ... values, as the search is shown all of them again then.
    Later ones are left out, as a search that has found its place sees values near the smallest.
    """
    num = min(num, most_first(dim))
    if num <= 4:
        return num
    power: int = 2 ** (num.bit_length() - 1)
    return power + power // 2 if num >= power + power // 2 else power


def standard_of(values: Sequence[float], dim: int) -> tuple[float, float]:
    """Mean and spread of the first of ``values``, or, where these are all the same, of all."""
    mean, spread = mean_and_spread(values[: num_first(len(values), dim)])
    return (mean, spread) if spread else mean_and_spread(values)
