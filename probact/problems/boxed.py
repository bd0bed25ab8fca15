"""Known functions on a box, moved, mirrored and brought to the scale of a Gaussian process: to judge searches by."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from probact.problems.black_box import Regret, RegretFamily
from probact.support.trees import Params

NUM_POINTS = 1000
"""So many random points tell the mean and the standard deviation of a function."""
SHIFT = 0.1
"""A function is moved by up to this share of its box along each axis."""


class Placing(NamedTuple):
    """u(x) = offset + slope x, elementwise; each ``(L, d)``."""

    offset: Tensor
    slope: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """u of ``x (..., L, d)``."""
        return self.offset + self.slope * x

    @classmethod
    def draw(cls, num: int, dim: int, inset: float, generator: torch.Generator) -> Placing:
        """A shift ~ U[-.1, .1] of each axis, half of the axes mirrored; x in [0,1] covers all but ``inset`` of u."""
        shift = SHIFT * (2 * torch.rand(num, dim, generator=generator) - 1)
        slope = torch.full((num, dim), 1 - 2 * inset)
        mirrored = torch.rand(num, dim, generator=generator) < 0.5
        return cls(torch.where(mirrored, 1 - inset, inset) + shift, torch.where(mirrored, -slope, slope))


@dataclass(frozen=True)
class Boxed(Regret):
    """f(x) = (g(u(x)) - centre) / spread on [0,1]^d, theta = {"x": ``(L, d)``}.

    :ivar offset, slope: of ``Placing``.
    :ivar centre, spread: mean and standard deviation of g(u(x)) at 1,000 random x, ``(L,)``.
    """

    offset: Tensor
    slope: Tensor
    centre: Tensor
    spread: Tensor

    @abstractmethod
    def raw(self, u: Tensor) -> Tensor:
        """g at ``u (..., L, d)``: ``(..., L)``."""

    @abstractmethod
    def raw_lowest(self) -> Tensor:
        """Smallest g on the problem's box, ``(L,)``."""

    def value(self, params: Params) -> Tensor:
        return self.value_at(params["x"])

    def value_at(self, x: Tensor) -> Tensor:
        """f at ``x (..., L, d)``, ``(..., L)``."""
        return (self.raw(Placing(self.offset, self.slope)(x)) - self.centre) / self.spread


class BoxedFamily(RegretFamily):
    """One function of ``dim`` variables, moved and mirrored at random."""

    dim: ClassVar[int]
    inset: ClassVar[float] = 0.0
    """Where u beyond [0,1] has no value: ``SHIFT``."""
    kind: ClassVar[type[Boxed]]

    def more(self, num: int, generator: torch.Generator) -> tuple[Any, ...]:
        """Further fields of the problems."""
        return ()

    def sample(self, num: int, generator: torch.Generator) -> Boxed:
        placing = Placing.draw(num, self.dim, self.inset, generator)
        points = torch.rand(NUM_POINTS, num, self.dim, generator=generator)
        start, zero = {"x": torch.full((num, self.dim), 0.5)}, torch.zeros(num)
        more = self.more(num, generator)
        price, scale = self.prices(num, generator)
        plain = self.kind(start, zero, price, scale, *placing, zero, zero + 1, *more)
        values = plain.value_at(points)
        centre, spread = values.mean(0), values.std(0)
        lowest = (plain.raw_lowest() - centre) / spread
        return self.kind(start, lowest, price, scale, *placing, centre, spread, *more)
