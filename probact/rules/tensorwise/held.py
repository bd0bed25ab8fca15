"""What ``tensorwise`` holds from one look to the next: what its network said, and what makes matrices even."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from probact.rules.matrices import Evener, equalised, has_orthogonal, is_matrix, orthogonal_places, sides
from probact.support.trees import leaves, map_state, per_problem, some

FIRST = 16
"""So many steps have a look each."""
WILD = 0.15
"""And each step while the loss jitters by more than this share of its fall, as in small batches: what was said of one
gradient does not hold for the next one.
"""
LONGER = 2.0
"""A step without a look is at most so many times as long as its directions make it that have a length of 1 each."""


class Held(NamedTuple):
    """Of the last look at M tensors.

    :ivar rates: along each direction, at a factor of 1, ``(L, M, 5)``; they alone are in the graph.
    :ivar rows, columns: of the eveners, M times ``(L, rows, 1)`` and ``(L, 1, columns)``.
    :ivar equalisers: of matrices whose singular values are made equal, in the order of their places.
    :ivar features: for halting, ``(L, F)``.
    :ivar step: at which step it was, ``(L,)``.
    """

    rates: Tensor
    rows: tuple[Tensor, ...]
    columns: tuple[Tensor, ...]
    equalisers: tuple[Tensor, ...]
    features: Tensor
    step: Tensor

    @classmethod
    def init(cls, tensors: Sequence[Tensor], shapes: Sequence[torch.Size], rates: int, features: int) -> Held:
        """Before the first look at ``tensors``, M times ``(L, d_m)``, of ``shapes``."""
        like, num = tensors[0], len(tensors[0])
        return cls(
            like.new_zeros(num, len(tensors), rates),
            tuple(like.new_zeros(num, sides(shape)[0] if is_matrix(shape) else 1, 1) for shape in shapes),
            tuple(like.new_zeros(num, 1, sides(shape)[1] if is_matrix(shape) else 1) for shape in shapes),
            tuple(like.new_zeros(num, *(min(sides(shape)),) * 2) for shape in shapes if has_orthogonal(shape)),
            like.new_zeros(num, features),
            like.new_zeros(num),
        )

    @property
    def eveners(self) -> list[Evener]:
        return [*map(Evener, self.rows, self.columns)]

    def orthogonal(
        self, fast: Sequence[Tensor], square: Sequence[Tensor], shapes: Sequence[torch.Size]
    ) -> dict[int, Tensor]:
        """Place -> that matrix of ``fast``, M times ``(L, d_m)``, with its singular values made about equal."""
        return still(
            {
                k: equalised(fast[k], shapes[k], equaliser)
                for k, equaliser in zip(orthogonal_places(shapes), self.equalisers, strict=True)
            },
            square,
        )


def still(made: Mapping[int, Tensor], square: Sequence[Tensor]) -> dict[int, Tensor]:
    """What was ``made``, by its place, where ``square`` is not 0: no coordinate moves that never had a gradient."""
    return {k: torch.where(square[k] > 0, part, 0.0) for k, part in made.items()}


def chosen(looks: Tensor, now: Held, before: Held) -> Held:
    """``now`` of the problems that have ``looks (L,)``, ``before`` of the others."""
    if not some(~looks):
        return now

    pairs = iter(leaves(before))
    merged: Held = map_state(lambda new: torch.where(per_problem(looks, new), new, next(pairs)), now)
    return merged
