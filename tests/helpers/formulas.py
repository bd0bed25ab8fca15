"""Searches for rules whose child is a formula of the rule's text, so that they take no time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from probact.rule_search import search as module
from probact.rule_search.child import LOOKS, Tried
from probact.rule_search.halting import Halting
from probact.rules.expressions.grammar import Node, nodes
from probact.rules.expressions.parser import written


def reward_of(tree: Node) -> float:
    """More for a momentum in it; else by its text."""
    drawn = int(hashlib.sha256(written(tree).encode()).hexdigest()[:8], 16) / 16**8
    return min(0.1 + 0.5 * ("momentum" in {node.name for node in nodes(tree)}) + 0.3 * drawn, 1.0)


class Formula:
    """In place of ``Child``."""

    def __init__(self, family: str, reward: str, seed: int) -> None:
        self.tried: list[str] = []

    def try_out(self, trees: Sequence[Node], halting: Halting) -> list[Tried]:
        self.tried += map(written, trees)
        found = [reward_of(tree) for tree in trees]
        tried = [Tried(reward, 1 - reward, reward, 0.1, 0, (1 - reward,) * len(LOOKS)) for reward in found]
        halting.end(tried)
        return tried


@pytest.fixture
def formulas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Child", Formula)
