"""What proposes rules and learns from how they did."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from probact.rule_search.programs import Program
from probact.support.registry import Registry


class Scored(NamedTuple):
    """:ivar utility: grows with the reward, most of all near the best there is; :ivar is_new: never tried before."""

    program: Program
    utility: float
    is_new: bool


class Controller(ABC):
    """Subclasses register a name in ``CONTROLLERS``.

    :param depth: groups of words a rule; :param seed: of all its random numbers.
    :param rules: how many it is asked for in all.
    :ivar note: what a user should know of a search by it, in a line; empty where there is nothing.
    """

    name: ClassVar[str]
    note: str = ""

    def __init__(self, depth: int, seed: int, rules: int = 1000) -> None:
        self.depth = depth

    @abstractmethod
    def propose(self, num: int) -> list[Program]:
        """The next rules."""

    def learn(self, scored: Sequence[Scored]) -> None:
        """How those that it proposed last did, in order."""
        return

    @abstractmethod
    def to_state(self) -> dict[str, Any]:
        """All that it has learned and where its random numbers are, as tensors and numbers."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """What ``to_state`` gave: it then goes on bit for bit."""


CONTROLLERS: Registry[Controller] = Registry("controller", Controller)
