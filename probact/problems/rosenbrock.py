"""The curved valley."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from probact.problems.base import FAMILIES, Optimizee, OptimizeeFamily
from probact.support.trees import Params


@dataclass(frozen=True)
class Valley(Optimizee):
    """(a - x)^2 + b (y - x^2)^2 with ``a``, ``b`` ``(L,)`` and theta = (x, y) ``(L, 2)``; optimum 0 at (a, a^2)."""

    a: Tensor
    b: Tensor

    def nll(self, params: Params) -> Tensor:
        x, y = params["theta"].unbind(-1)
        return (self.a - x).square() + self.b * (y - x.square()).square()

    def optimum(self) -> Tensor:
        return torch.zeros_like(self.a)


@FAMILIES.register("rosenbrock")
class Rosenbrock(OptimizeeFamily):
    """Rosenbrock's valley in 2-d, a ~ N(1, 1), b ~ N(100, 1), start near (-1.2, 1); optimum 0.

    Rosenbrock 1960; the distribution of a, b and the start N((-1.2, 1), spread^2) as in the prior code.
    """

    def __init__(self, spread: float = 0.5) -> None:
        self.spread = spread

    def sample(self, num: int, generator: torch.Generator) -> Valley:
        a = 1 + torch.randn(num, generator=generator)
        b = 100 + torch.randn(num, generator=generator)
        start = torch.tensor([-1.2, 1.0]) + self.spread * torch.randn(num, 2, generator=generator)
        return Valley({"theta": start}, a, b)
