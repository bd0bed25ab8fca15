"""Searches that are asked and told: one that can be written down, and a loop that drives any."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from probact.rules.base import Step, UpdateRule
from probact.searching.optimizer import BlackBoxOptimizer
from probact.stopping.rules import Budget
from probact.support.sight import Sight
from probact.support.trees import Params, State


class Walker(UpdateRule):
    """Asks at .2, then .13 further on and a little against the last value, as it is shown it."""

    name = "walker"
    sees = Sight.VALUE
    num_features = 1

    def init(self, params: Params) -> State:
        return (torch.zeros(len(params["x"]), dtype=torch.long),)

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        (count,) = state
        x, y = params["x"], loss.unsqueeze(-1)
        query = torch.where(count.unsqueeze(-1) == 0, 0.2, (x + 0.13 - 0.01 * y) % 1)
        return Step({"x": query - x}, (count + 1,), y)


def bowl(point: Any) -> float:
    return sum((value - 1.0) ** 2 for value in point)


def drive(optimizer: BlackBoxOptimizer, function: Any = bowl, most: int = 40) -> list[Any]:
    points = []
    while not optimizer.should_stop() and optimizer.num_queries < most:
        points.append(optimizer.ask())
        optimizer.tell(function(points[-1]))
    return points


def walker(dim: int = 1, **options: Any) -> BlackBoxOptimizer:
    return BlackBoxOptimizer(Walker(), [(-3.0, 3.0)] * dim, **{"stop": Budget(12), **options})
