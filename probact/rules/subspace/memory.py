"""The names of the directions that the subspace rule mixes, and what it remembers from step to step to make them."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor

from probact.rules.lbfgs import Curvature
from probact.rules.subspace import trust
from probact.rules.subspace.trust import Trust

DECAYS = (0.5, 0.9, 0.98)
"""Decays of the running means of the gradient."""
PATHS = (0.9, 0.98)
"""Decays of the running means of theta (Polyak and Juditsky 1992)."""
GRADIENTS = ("gradient", *(f"mean {decay}" for decay in DECAYS), "adam", "whitened")
"""Directions that know no length: they need a unit."""
DIRECTIONS = (*GRADIENTS, "l-bfgs", "last step", *(f"to the mean {decay}" for decay in PATHS), "to the best")
NUM_GRADIENTS, NUM_DIRECTIONS = len(GRADIENTS), len(DIRECTIONS)


class DirectionMemory(NamedTuple):
    """What the directions are made of, without graph; M tensors a problem, d coordinates in all.

    :ivar basis: the directions at the last theta, ``(L, B, d)``; the means without their correction for the start.
    :ivar update: the last step, ``(L, d)``.
    :ivar to_means: the running means of theta less theta, ``(L, 2, d)``.
    :ivar square: running mean of g^2, ``(L, d)``.
    :ivar curvature: the pairs of L-BFGS.
    :ivar log_rate: log of the Barzilai-Borwein step, ``(L, M)``.
    :ivar sizes: length of theta_m, ``(L, M)``.
    :ivar mean_loss: running mean of the loss, ``(L,)``.
    :ivar trust: what keeps from harm.
    """

    basis: Tensor
    update: Tensor
    to_means: Tensor
    square: Tensor
    curvature: Curvature
    log_rate: Tensor
    sizes: Tensor
    mean_loss: Tensor
    trust: Trust

    @classmethod
    def init(cls, flat: Tensor, num_tensors: int, pairs: int) -> Self:
        """Before the first gradient, at parameters ``flat (L, d)``."""
        num, dimension = flat.shape
        return cls(
            basis=flat.new_zeros(num, NUM_DIRECTIONS, dimension),
            update=torch.zeros_like(flat),
            to_means=flat.new_zeros(num, len(PATHS), dimension),
            square=torch.zeros_like(flat),
            curvature=Curvature.init(flat, pairs),
            log_rate=flat.new_zeros(num, num_tensors),
            sizes=flat.new_zeros(num, num_tensors),
            mean_loss=flat.new_zeros(num),
            trust=trust.init(flat),
        )

    def moved(self, update: Tensor) -> DirectionMemory:
        """After the step ``update (L, d)``."""
        decays = update.new_tensor(PATHS).view(1, -1, 1)
        to_means = (self.to_means - update.unsqueeze(1)) * decays
        return self._replace(update=update, to_means=to_means, trust=self.trust.moved(update))

    def moved_otherwise(self, update: Tensor) -> DirectionMemory:
        """If ``update (L, d)`` was made in place of the last step."""
        decays = update.new_tensor(PATHS).view(1, -1, 1)
        left = self.update - update
        to_means = self.to_means + left.unsqueeze(1) * decays
        return self._replace(
            update=update, to_means=to_means, trust=self.trust._replace(to_best=self.trust.to_best + left)
        )
