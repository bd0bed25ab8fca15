"""A computation in progress: a network that is asked for its answer after every step."""

from __future__ import annotations

import torch
from torch import Tensor

from probact.support.trees import Params, map_params
from probact.unrolling.walk import Walk


class Looped(Walk):
    """The walk of a rule that sees the input alone: theta_t is its answer after t steps.

    Its loss is known while it learns only; neither the rule nor the halting posterior ever sees it.
    """

    def _shown(self) -> tuple[Tensor, Params]:
        answer = self.carry.params
        like = next(iter(answer.values()))
        return like.new_zeros(len(like)), map_params(torch.zeros_like, answer)
