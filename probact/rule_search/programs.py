"""Rules as a search writes them: groups of five words, as numbers, and the trees that they say."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from probact.rules.expressions.grammar import BINARY, OPERANDS, UNARY, Node

GROUP = 5
"""Words a group: operand, operand, unary, unary, binary; b(u1(o1), u2(o2)), of which a later group may be made."""
DEEPEST = 3
_OPERANDS, _UNARY, _BINARY = tuple(OPERANDS), tuple(UNARY), tuple(BINARY)
Program = tuple[int, ...]
"""``depth`` groups of words, each the number of its choice."""


def num_choices(place: int) -> int:
    """How many words may stand at ``place``; an operand of group k may be one of the k groups before."""
    group, word = divmod(place, GROUP)
    return (len(_OPERANDS) + group, len(_OPERANDS) + group, len(_UNARY), len(_UNARY), len(_BINARY))[word]


MOST_CHOICES = len(_OPERANDS) + DEEPEST - 1


def tree_of(program: Sequence[int]) -> Node:
    """The rule that the last group says."""
    made: list[Node] = []
    for start in range(0, len(program), GROUP):
        first, second, on_first, on_second, both = program[start : start + GROUP]
        parts = []
        for operand, unary in ((first, on_first), (second, on_second)):
            of = Node(_OPERANDS[operand]) if operand < len(_OPERANDS) else made[operand - len(_OPERANDS)]
            parts.append(Node(_UNARY[unary], (of,)))
        made.append(Node(_BINARY[both], tuple(parts)))
    return made[-1]


def draw(depth: int, generator: torch.Generator) -> Program:
    """Every word uniformly."""
    return tuple(draw_word(place, generator) for place in range(depth * GROUP))


def draw_word(place: int, generator: torch.Generator) -> int:
    """A word for ``place``, uniformly."""
    return int(torch.randint(num_choices(place), (), generator=generator))
