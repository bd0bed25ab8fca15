"""The loss that a user's loop hands over."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, distributed

from probact.support.trees import Params, finite


def read_loss(returned: Any, what: str) -> Tensor:
    """The loss ``(1,)`` in what a closure returned or ``step`` was given: a number, a tensor, or a dict with ``loss``.

    :raises ValueError: if there is no loss of one real number in it.
    """
    loss = returned.get("loss") if isinstance(returned, Mapping) else returned
    if not isinstance(loss, Tensor | Real):
        got = f"a {type(returned).__name__} without one" if isinstance(returned, Mapping) else type(loss).__name__
        raise ValueError(f"{what}: expected the loss (a tensor or a number), or a dict with 'loss', got {got}")
    value = torch.as_tensor(loss, dtype=None if isinstance(loss, Tensor) else torch.float64).detach()
    if value.numel() != 1 or value.is_complex():
        raise ValueError(f"{what}: expected a loss of one number, got shape {tuple(value.shape)}, {value.dtype}")
    return value.reshape(1)


def mean_over_ranks(loss: Tensor, device: torch.device | None = None) -> Tensor:
    """The same loss on every rank, so that replicas whose gradients are synchronised stay equal bit for bit.

    :param device: that the ranks exchange it on, if it is on another.
    """
    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        total = loss.to(device or loss.device, copy=True)
        distributed.all_reduce(total)
        return total / distributed.get_world_size()
    return loss


def not_finite(loss: Tensor, grads: Params) -> str | None:
    """What is infinite or no number: the loss, or the gradient of which parameter; None if nothing is."""
    if not bool(loss.isfinite()):
        return f"the loss ({loss.item()})"
    if bool(finite(grads.values())):
        return None
    return next(f"the gradient of parameter {name}" for name, grad in grads.items() if not bool(finite([grad])))


def checked_patience(patience: Any) -> int | None:
    """``patience``, how many looks in a row may be at what is not finite.

    :raises ValueError: if it is neither a whole number >= 1 nor None.
    """
    if patience is None:
        return None
    if isinstance(patience, Integral) and not isinstance(patience, bool) and int(patience) >= 1:
        return int(patience)
    raise ValueError(f"patience_for_nan: expected a whole number >= 1 of steps, or None, got {patience!r:.60}")
