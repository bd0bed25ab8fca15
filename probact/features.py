"""What the halting posterior sees of a problem, whatever the rule: scale-free signals of its progress."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from probact.optimizees.base import Params

NUM_FEATURES = 15
DECAY = 0.8
SMALL = 1e-12
SCALES = (1 / 3, 1 / 3, 1, 1, 1, 1 / 3, 1, 1, 1, 1 / 3, 1 / 3, 1 / 3, 1, 1 / 3, 1)


def signed_log(values: Tensor) -> Tensor:
    """sign(v) log(1 + |v|): linear near 0, logarithmic far from it."""
    return values.sign() * values.abs().log1p()


class Progress(NamedTuple):
    """What the features remember of the steps before, each ``(L,)``."""

    num_steps: Tensor
    first_loss: Tensor
    last_loss: Tensor
    best_loss: Tensor
    last_log_norm: Tensor
    average_drop: Tensor
    average_promise: Tensor


def _dot(a: Params, b: Params) -> Tensor:
    products = [(a[name] * b[name]).flatten(1).sum(1) for name in a]
    return products[0] if len(products) == 1 else torch.stack(products).sum(0)


def start(loss: Tensor) -> Progress:
    """Memory before the first step; ``loss (L,)`` gives shape and type only."""
    zero = torch.zeros_like(loss)
    return Progress(zero, zero, zero, zero, zero, zero, zero)


def observe(progress: Progress, loss: Tensor, grads: Params, update: Params) -> tuple[Tensor, Progress]:
    """Features ``(L, 15)`` from losses and gradients at theta_0..theta_t and the steps from them, without graph.

    In this order: loss; log gradient norm and its change; loss drop of the last step, its running mean, the drop
    since the start, and the distance above the best loss so far; the drop that the step worked out at theta_t
    promises, <-g, update>, and its running mean; log t; log length of that step; log size and sign of the last drop
    and of the promise.  Losses and drops are in nats under ``signed_log``, drops times 10, so that a drop of one step's
    cost (0.05 nats at nu = 0.95) is well inside the linear part; log size and sign tell apart what is smaller.
    """
    with torch.no_grad():
        is_first = progress.num_steps == 0
        log_norm = 0.5 * torch.log(_dot(grads, grads) + SMALL)
        first_loss = torch.where(is_first, loss, progress.first_loss)
        best_loss = torch.where(is_first, loss, torch.minimum(loss, progress.best_loss))
        drop = torch.where(is_first, 0.0, progress.last_loss - loss)
        promise = -_dot(grads, update)
        count = progress.num_steps + 1
        weight = (1 / count).clamp_min(1 - DECAY)  # a running mean that weighs all steps alike at first
        average_drop = progress.average_drop.lerp(drop, weight)
        average_promise = progress.average_promise.lerp(promise, weight)
        length = 0.5 * torch.log(_dot(update, update) + SMALL)
        nats = torch.stack([drop, average_drop, first_loss - loss, loss - best_loss, promise, average_promise])
        sizes = torch.stack([drop, promise])
        features = torch.stack(
            [
                signed_log(loss),
                log_norm,
                torch.where(is_first, 0.0, log_norm - progress.last_log_norm),
                *signed_log(10 * nats),
                count.log(),
                length,
                *torch.stack([torch.log(sizes.abs() + 1e-8), sizes.sign()], 1).flatten(0, 1),
            ],
            -1,
        )
        features = features * features.new_tensor(SCALES)
        # A loss of 1e30 is finite and its square is not: such a problem must not spoil the head's gradient for all.
        features = features.nan_to_num(0.0, 100.0, -100.0)
        return features, Progress(count, first_loss, loss, best_loss, log_norm, average_drop, average_promise)
