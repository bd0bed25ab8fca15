"""Hartmann's functions of three and six variables."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from probact.problems.base import FAMILIES
from probact.problems.boxed import Boxed, BoxedFamily

WEIGHTS = (1.0, 1.2, 3.0, 3.2)


class Wells(Boxed):
    """-sum_i w_i exp(-sum_j A_ij (u_j - P_ij)^2).

    All four centres are in the box, so what leaves it makes every term worse: its minimum is that of the whole space.
    """

    steepness: ClassVar[tuple[tuple[float, ...], ...]]
    centres: ClassVar[tuple[tuple[float, ...], ...]]
    minimum: ClassVar[float]

    def raw(self, u: Tensor) -> Tensor:
        steepness, centres, weights = (u.new_tensor(rows) for rows in (self.steepness, self.centres, WEIGHTS))
        square = (u.unsqueeze(-2) - centres).square()
        return -(weights * (-(steepness * square).sum(-1)).exp()).sum(-1)

    def raw_lowest(self) -> Tensor:
        """Known; its place too, and no shift moves it out of the box."""
        return torch.full_like(self.centre, self.minimum)


class ThreeWells(Wells):
    """At (.114589, .555649, .852547)."""

    steepness = ((3, 10, 30), (0.1, 10, 35), (3, 10, 30), (0.1, 10, 35))
    centres = (
        (0.3689, 0.1170, 0.2673),
        (0.4699, 0.4387, 0.7470),
        (0.1091, 0.8732, 0.5547),
        (0.0381, 0.5743, 0.8828),
    )
    minimum = -3.8627797873326624


class SixWells(Wells):
    """At (.20169, .150011, .476874, .275332, .311652, .6573)."""

    steepness = (
        (10, 3, 17, 3.5, 1.7, 8),
        (0.05, 10, 17, 0.1, 8, 14),
        (3, 3.5, 1.7, 10, 17, 8),
        (17, 8, 0.05, 10, 0.1, 14),
    )
    centres = (
        (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
        (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
        (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
        (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
    )
    minimum = -3.322368011415515


@FAMILIES.register("hartmann-3")
class Hartmann3(BoxedFamily):
    """Hartmann's function of 3 variables, for searches; moved, mirrored, standardised by 1,000 points.

    Hartman 1973; constants as in Dixon and Szego 1978.
    """

    dim = 3
    kind = ThreeWells


@FAMILIES.register("hartmann-6")
class Hartmann6(BoxedFamily):
    """Hartmann's function of 6 variables, for searches; moved, mirrored, standardised by 1,000 points.

    Hartman 1973; constants as in Dixon and Szego 1978.
    """

    dim = 6
    kind = SixWells
