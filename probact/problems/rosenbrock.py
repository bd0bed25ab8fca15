"""The curved valley."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from probact.problems.base import FAMILIES, Optimizee, OptimizeeFamily
from probact.support.refusals import check_range
from probact.support.trees import Params


@dataclass(frozen=True)
class Valley(Optimizee):
    """(turn - theta_1)^2 + wall (theta_2 - theta_1^2)^2, each ``(L,)``; theta ``(L, 2)``; 0 at (turn, turn^2)."""

    turn: Tensor
    wall: Tensor

    def nll(self, params: Params) -> Tensor:
        along, across = params["theta"].unbind(-1)
        return (self.turn - along).square() + self.wall * (across - along.square()).square()

    def optimum(self) -> Tensor:
        return torch.zeros_like(self.turn)


@FAMILIES.register("rosenbrock")
class Rosenbrock(OptimizeeFamily):
    """Rosenbrock's valley in 2-d, turn ~ N(1, 1), wall ~ N(100, 1), start near (-1.2, 1); optimum 0.

    Rosenbrock 1960; turn, wall and the start N((-1.2, 1), spread^2) are distributed as in the prior code.
    """

    def __init__(self, spread: float = 0.5) -> None:
        check_range(self.label, at_least=0, spread=spread)
        self.spread = spread

    def sample(self, num: int, generator: torch.Generator) -> Valley:
        turn = 1 + torch.randn(num, generator=generator)
        wall = 100 + torch.randn(num, generator=generator)
        start = torch.tensor([-1.2, 1.0]) + self.spread * torch.randn(num, 2, generator=generator)
        return Valley({"theta": start}, turn, wall)
