"""A search under way: the walk that training and judging take, with a user's answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from probact.inference.posteriors.base import HaltingPosterior
from probact.rules.base import UpdateRule
from probact.rules.searches import SearchRule
from probact.searching.alone import SearchOfOne
from probact.searching.told import Told
from probact.stopping.base import Known, StopRule
from probact.stopping.online import OnlineBelief
from probact.unrolling.begin import begin
from probact.unrolling.search import Search


class SearchOfTensors:
    """The walk itself, on one function, for any rule."""

    def __init__(self, rule: UpdateRule, told: Told, posterior: HaltingPosterior | None) -> None:
        self.belief = OnlineBelief(posterior)
        walk = begin(rule, told)
        assert isinstance(walk, Search)
        walk.is_followed = posterior is not None
        self.walk = walk
        self._waits = False

    def propose(self) -> list[float]:
        """The next query, d numbers; the same until it is answered."""
        query = self.walk.carry.params if self._waits else self.walk.propose_query()
        self._waits = True
        numbers: list[float] = query["x"][0].tolist()
        return numbers

    def answer(self, value: float, at: Sequence[float]) -> Known:
        """What is known after f at ``at``, the query proposed or another."""
        if not self._waits:
            self.walk.propose_query()
        like = self.walk.carry.params["x"]
        self.walk.answer(like.new_tensor([value]), {"x": like.new_tensor([at])})
        self._waits = False
        return self.belief.take_in(self.walk.step, self.walk.look())


class Course:
    """Queries and answers in standard form; after each answer what is known there, and the stop rule's score.

    A rule that has a form for one function goes that way: the same numbers, in less time.

    :ivar known: what the stop rule is told after the last answer; None before.
    :ivar score: what it says of it.
    """

    def __init__(self, rule: UpdateRule, posterior: HaltingPosterior | None, told: Told, stop: StopRule | None) -> None:
        self.stop = stop
        with torch.inference_mode():
            self.walk = self._walk(rule, posterior, told)
        self.known: Known | None = None
        self.score: float | None = None
        self._memory: Any = None

    @staticmethod
    def _walk(rule: UpdateRule, posterior: HaltingPosterior | None, told: Told) -> SearchOfOne | SearchOfTensors:
        if isinstance(rule, SearchRule):
            alone = rule.of_one(told.theta0["x"].shape[1], float(told.price))
            if alone is not None and (posterior is None or posterior.distribution.online):
                return SearchOfOne(alone, float(told.scale), posterior)
        return SearchOfTensors(rule, told, posterior)

    def propose(self) -> list[float]:
        """The next query, d numbers; the same until it is answered."""
        with torch.inference_mode():
            return self.walk.propose()

    def take_in(self, value: float, at: Sequence[float]) -> None:
        """f at ``at``, the query proposed or another."""
        with torch.inference_mode():
            self.known = self.walk.answer(value, at)
            if self.stop is not None:
                self._memory = self.stop.init(self.known.loss) if self._memory is None else self._memory
                score, self._memory = self.stop.checked_score(self.known, self._memory)
                self.score = float(score)
