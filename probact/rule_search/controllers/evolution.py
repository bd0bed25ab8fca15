"""Rules by mutation and age."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import torch

from probact.rule_search.controllers.base import CONTROLLERS, Controller, Scored
from probact.rule_search.programs import Program, draw, draw_word, num_choices
from probact.support.randomness import random_stream


@CONTROLLERS.register("evolution")
class Evolution(Controller):
    """Regularised evolution: the best of ten of the last hundred, with one word changed (Real et al. 2019).

    The oldest make room, however good they are, so that a rule stays by being found again.  The first hundred are drawn
    at random.  Of fewer than two hundred rules the first half is: it then chooses among as many as that.
    """

    largest_population, largest_sample = 100, 10

    def __init__(self, depth: int, seed: int, rules: int = 1000) -> None:
        super().__init__(depth, seed, rules)
        self._generator = random_stream("draws", seed)
        population = min(self.largest_population, max(2, rules // 2))
        self._living: deque[tuple[Program, float]] = deque(maxlen=population)

    @property
    def population(self) -> int:
        """How many of the last rules it chooses among."""
        assert self._living.maxlen is not None
        return self._living.maxlen

    @property
    def sample(self) -> int:
        """Of how many of these a parent is the best: ten, or a fifth of a small population."""
        return min(self.largest_sample, max(2, self.population // 5))

    @property
    def note(self) -> str:  # type: ignore[override]
        return (
            f"evolution: the first {self.population} rules are drawn at random; then each is the best of {self.sample} "
            f"of the last {self.population}, with one word changed"
        )

    def propose(self, num: int) -> list[Program]:
        return [self._child() for _ in range(num)]

    def _child(self) -> Program:
        if len(self._living) < self.population:
            return draw(self.depth, self._generator)
        chosen = torch.randperm(len(self._living), generator=self._generator)[: self.sample].tolist()
        parent = list(max((self._living[place] for place in chosen), key=lambda one: one[1])[0])
        place = int(torch.randint(len(parent), (), generator=self._generator))
        before = parent[place]
        while parent[place] == before and num_choices(place) > 1:
            parent[place] = draw_word(place, self._generator)
        return tuple(parent)

    def learn(self, scored: Sequence[Scored]) -> None:
        self._living.extend((one.program, one.utility) for one in scored)

    def to_state(self) -> dict[str, Any]:
        living = [{"program": list(program), "utility": utility} for program, utility in self._living]
        return {"generator": self._generator.get_state(), "living": living, "population": self.population}

    def load_state(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"])
        living = ((tuple(one["program"]), one["utility"]) for one in state["living"])
        self._living = deque(living, maxlen=state.get("population", self.largest_population))
