"""Goldstein and Price's function."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from probact.problems.base import FAMILIES
from probact.problems.boxed import Boxed, BoxedFamily


class Plateaus(Boxed):
    """log g with g = [1 + s^2 (19 - 14 s' + 3 s'^2)] [30 + r^2 (18 - 16 r + 3 r^2)], s = a + b + 1, s' = a + b.

    r = 2a - 3b; a, b in [-2, 2].  The bracketed polynomials of Goldstein and Price 1971, in s' and r.
    """

    def raw(self, u: Tensor) -> Tensor:
        a, b = (4 * u - 2).unbind(-1)
        along, across = a + b, 2 * a - 3 * b
        first = 1 + (along + 1).square() * (19 - 14 * along + 3 * along.square())
        second = 30 + across.square() * (18 - 16 * across + 3 * across.square())
        return (first * second).log()

    def raw_lowest(self) -> Tensor:
        """log 3 at (0, -1), of the whole plane: the brackets are >= 1 and >= 3."""
        return torch.full_like(self.centre, math.log(3))


@FAMILIES.register("goldstein-price")
class GoldsteinPrice(BoxedFamily):
    """The log of Goldstein and Price's function (2-d), for searches; moved, mirrored, standardised by 1,000 points.

    Goldstein and Price 1971; the logarithm, as its values span five decades (Picheny, Wagner and Ginsbourger 2013).
    """

    dim = 2
    kind = Plateaus
