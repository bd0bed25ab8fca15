"""Branin's function."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from probact.problems.base import FAMILIES
from probact.problems.boxed import Boxed, BoxedFamily


class Valleys(Boxed):
    """(b - 5.1/(4 pi^2) a^2 + 5/pi a - 6)^2 + 10 (1 - 1/(8 pi)) cos a + 10, a in [-5, 10], b in [0, 15]."""

    def raw(self, u: Tensor) -> Tensor:
        a, b = 15 * u[..., 0] - 5, 15 * u[..., 1]
        bend = b - 5.1 / (4 * math.pi**2) * a.square() + 5 / math.pi * a - 6
        return bend.square() + 10 * (1 - 1 / (8 * math.pi)) * a.cos() + 10

    def raw_lowest(self) -> Tensor:
        """10/(8 pi) at a = +-pi and 3 pi, where the square is 0: no shift moves all three out of the box."""
        return torch.full_like(self.centre, 10 / (8 * math.pi))


@FAMILIES.register("branin")
class Branin(BoxedFamily):
    """Branin's function (2-d, three global minima), for searches; moved, mirrored, standardised by 1,000 points.

    Branin 1972; in the form of Dixon and Szego 1978.
    """

    dim = 2
    kind = Valleys
