"""How many steps an optimization has, for rules that are told."""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import torch
from torch import Tensor

from probact.support.arrays import operations

GUESS, LEAST, MOST = 100.0, 20.0, 3000.0
"""Steps in all, where nobody knows; and what fewer ones and more count as."""


class Plan(NamedTuple):
    """How many steps are left, the next among them, of how many in all; each ``(L,)``.

    :ivar left: from ``total`` down to 1 before the last step, and on; inf where nobody knows.
    :ivar total: inf likewise.
    """

    left: Tensor
    total: Tensor

    @classmethod
    def of(cls, total: Tensor, made: int | Tensor = 0) -> Self:
        """After ``made`` steps of ``total (L,)``."""
        return cls(total - made, total)

    @classmethod
    def unknown(cls, like: Tensor) -> Self:
        """For L problems, ``like (L, ...)``."""
        endless = like.new_full((len(like),), math.inf)
        return cls(endless, endless)

    @property
    def factor(self) -> Tensor:
        """Of the next step, ``(L,)``: from 1 on a line to 0, the best schedule that is fixed beforehand (Defazio et al.
        2023, arXiv 2310.07831, section 2); 1 where nobody knows.  Beyond the last step it is that of the last.
        """
        do = operations(self.total)
        return do.where(self.total < math.inf, do.at_least(self.left, 1.0) / self.total, 1.0)

    @property
    def cosine(self) -> Tensor:
        """``factor`` on half a cosine in place of the line, ``(L,)``: (1 + cos(pi share)) / 2, with the share of the
        steps that is done (Loshchilov and Hutter 2017, equation 5, one period down to 0).
        """
        return (1 - torch.cos(math.pi * self.factor)) / 2

    def expected(self, made: Tensor) -> Tensor:
        """Steps in all, ``(L,)``; where nobody knows, twice the steps ``made (L,)`` so far, and ``GUESS`` at first."""
        do = operations(self.total)
        known, guessed = do.at_least(self.total, LEAST), do.at_least(2 * made, GUESS)
        return do.at_most(do.where(self.total < math.inf, known, guessed), MOST)

    def signals(self, made: Tensor) -> Tensor:
        """For a learned rule, ``(L, 3)``: whether it is told, the share that is left, and log of the steps in all."""
        told = self.total.isfinite().to(self.left.dtype)
        return torch.stack([told, self.factor, self.expected(made).log() / math.log(1000)], -1)
