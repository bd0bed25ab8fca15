"""Adam's step as torch works it out in one pass over memory: a part of other steps."""

from __future__ import annotations

import torch
from torch import Tensor

LATE, NEAREST = 1e30, 1 - 1e-12
"""At a step so late there is nothing left of the biases of running means, whose decays are so far from 1 at least."""


def has_adam(like: Tensor) -> bool:
    """Whether torch has it for tensors like this one: on a CPU, since 2.4."""
    return like.device.type == "cpu" and like.dtype in (torch.float32, torch.float64) and _TAKES is not None


def adam_(
    into: Tensor,
    new: Tensor,
    mean: Tensor,
    square: Tensor,
    decay: float,
    decay_of_square: float,
    rate: float,
    least: float,
) -> None:
    """``rate mean / (sqrt(square) + least)`` added to ``into``, in place, after ``new`` and its square were taken into
    the running means ``mean`` and ``square``, with their decays; all of one shape.
    """
    assert _TAKES is not None
    _TAKES(
        [into], [new], [mean], [square], [], [into.new_tensor(LATE)],
        lr=-rate, beta1=min(decay, NEAREST), beta2=decay_of_square, weight_decay=0.0, eps=least,
        amsgrad=False, maximize=False, grad_scale=None, found_inf=None,
    )  # fmt: skip


_TAKES = getattr(torch, "_fused_adam_", None)
