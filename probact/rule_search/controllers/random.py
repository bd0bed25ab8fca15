"""The controller that learns nothing, which the others have to beat."""

from __future__ import annotations

from typing import Any

from probact.rule_search.controllers.base import CONTROLLERS, Controller
from probact.rule_search.programs import Program, draw
from probact.support.randomness import random_stream


@CONTROLLERS.register("random")
class Random(Controller):
    """Every word uniformly, whatever came of it."""

    def __init__(self, depth: int, seed: int, rules: int = 1000) -> None:
        super().__init__(depth, seed, rules)
        self._generator = random_stream("draws", seed)

    def propose(self, num: int) -> list[Program]:
        return [draw(self.depth, self._generator) for _ in range(num)]

    def to_state(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"])
