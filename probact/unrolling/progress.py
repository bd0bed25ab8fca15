"""What the halting posterior sees of a problem, whatever the rule: scale-free signals of its progress."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from probact.support.arrays import Array, operations
from probact.support.trees import Params

NUM_FEATURES = 15
NUM_SIGNALS = 4
"""That ``measure`` gives."""
DECAY = 0.8
SMALL = 1e-12
SCALES = (1 / 3, 1 / 3, 1, 1, 1, 1 / 3, 1, 1, 1, 1 / 3, 1 / 3, 1 / 3, 1, 1 / 3, 1)


def signed_log(values: Array) -> Array:
    """sign(v) log(1 + |v|): linear near 0, logarithmic far from it."""
    do = operations(values)
    return do.sign(values) * do.log1p(abs(values))


def _dot(a: Params, b: Params) -> Tensor:
    if (
        all(len(tensor) == 1 for tensor in a.values()) and not torch.compiler.is_compiling()
    ):  # without products in memory
        return sum(torch.dot(a[name].flatten(), b[name].flatten()) for name in a).unsqueeze(0)  # type: ignore[union-attr]
    return sum(torch.linalg.vecdot(a[name].flatten(1), b[name].flatten(1)) for name in a)  # type: ignore[return-value]


PRICE = 0.05
"""Nats that a step costs where ``_compose`` was made: a drop of a price is well inside its linear part."""


def in_prices(signals: Tensor, price: float) -> Tensor:
    """``measure (..., 4, L)`` as it would be if a step cost ``PRICE``: of a loss in another unit."""
    unit = price / PRICE
    return signals / signals.new_tensor([unit, unit**2, unit, 1.0]).unsqueeze(-1)


def measure(loss: Tensor, grads: Params, update: Params) -> Tensor:
    """What the features are made of at theta_t, without graph, ``(4, L)``.

    In this order: loss, <g, g>, the drop that the step promises, <-g, update>, and <update, update>.
    """
    with torch.no_grad():
        signals = torch.stack([loss, _dot(grads, grads), -_dot(grads, update), _dot(update, update)])
        return signals.clamp_max(torch.finfo(signals.dtype).max)


class Progress(NamedTuple):
    """What the features remember of the steps before: each ``(L,)``, ``averages (L, 2)`` of drop and promise."""

    num_steps: Tensor
    first_loss: Tensor
    last_loss: Tensor
    best_loss: Tensor
    last_log_norm: Tensor
    averages: Tensor


def init(loss: Tensor) -> Progress:
    """Memory before the first step; ``loss (L,)`` gives shape and type only."""
    zero = torch.zeros_like(loss)
    return Progress(zero, zero, zero, zero, zero, torch.stack([zero, zero], -1))


def _logs(signals: Array) -> tuple[Array, ...]:
    """Loss, log gradient norm, promise, log length of the step, from ``signals (..., 4, L)``."""
    loss, square, promise, length = (signals[..., place, :] for place in range(NUM_SIGNALS))
    do = operations(signals)
    log_norm, log_length = 0.5 * do.log(do.stack([square, length]) + SMALL)
    return loss, log_norm, promise, log_length


def take_in(progress: Progress, signals: Tensor) -> tuple[Tensor, Progress]:
    """Features ``(L, 15)`` at theta_t from what was measured there, ``(4, L)``, and the memory of the steps before."""
    with torch.no_grad():
        if signals.shape[-1] > 1 or signals.device.type != "cpu" or torch.compiler.is_compiling():
            return _taken_in(progress, signals)
        memory: Array = (part.numpy() for part in progress)
        with np.errstate(all="ignore"):
            features, after = _taken_in(Progress(*memory), signals.numpy())
        return torch.from_numpy(features), Progress(*map(torch.from_numpy, after))


def _taken_in(progress: Progress, signals: Array) -> tuple[Array, Progress]:
    do = operations(signals)
    loss, log_norm, promise, log_length = _logs(signals)
    first = progress.num_steps == 0
    old = do.stack([progress.first_loss, progress.last_loss, progress.best_loss, progress.last_log_norm])
    now = do.stack([loss, loss, loss, log_norm])
    first_loss, last_loss, best_loss, last_log_norm = do.where(first, now, old)
    count, best_loss, drop = progress.num_steps + 1, do.lower(best_loss, loss), last_loss - loss
    weight = do.at_least(1 / count, 1 - DECAY)[:, None]
    averages = progress.averages + weight * (do.stack([drop, promise], -1) - progress.averages)
    features = _compose(
        loss,
        log_norm,
        log_norm - last_log_norm,
        drop,
        first_loss - loss,
        loss - best_loss,
        promise,
        averages,
        count,
        log_length,
    )
    return features, Progress(count, first_loss, loss, best_loss, log_norm, averages)


def of_unroll(signals: Tensor) -> Tensor:
    """The same for a whole unroll at once, ``(K, 4, L)`` from theta_0 on -> ``(K, L, 15)``."""
    with torch.no_grad():
        loss, log_norm, promise, log_length = _logs(signals)
        drop = -torch.diff(loss, dim=0, prepend=loss[:1])
        count = torch.arange(1, len(loss) + 1, device=loss.device, dtype=loss.dtype)
        averages = torch.stack([drop, promise], -1)
        weights = (1 / count).clamp_min(1 - DECAY)
        for step in range(1, len(averages)):
            averages[step] = averages[step - 1].lerp(averages[step], weights[step])
        return _compose(
            loss,
            log_norm,
            torch.diff(log_norm, dim=0, prepend=log_norm[:1]),
            drop,
            loss[0] - loss,
            loss - loss.cummin(0).values,
            promise,
            averages,
            count.unsqueeze(-1).expand_as(loss),
            log_length,
        )


def _compose(
    loss: Array,
    log_norm: Array,
    norm_change: Array,
    drop: Array,
    gain: Array,
    above: Array,
    promise: Array,
    averages: Array,
    count: Array,
    log_length: Array,
) -> Array:
    """Features ``(..., L, 15)`` from values of shape ``(..., L)``, ``averages (..., L, 2)``.

    In this order:

    - loss; log gradient norm and its change;
    - loss drop of the last step, its running mean, the drop since the start, the distance above the best loss so far;
    - the drop <-g, update> that the step worked out at theta_t promises, and its running mean;
    - log t; log length of that step; log size and sign of the last drop and of the promise.

    Losses and drops are in nats under ``signed_log``, drops times 10.  So a drop of one step's cost (0.05 nats at
    nu = 0.95) is well inside the linear part; log size and sign tell apart what is smaller.  A running mean weighs all
    steps alike at first, then the last by 1 - ``DECAY``.
    """
    do = operations(loss)
    nats = signed_log(do.stack([0.1 * loss, drop, averages[..., 0], gain, above, promise, averages[..., 1]]) * 10)
    signs = do.stack([drop, promise])
    sizes = do.log(abs(signs) + 1e-8)
    features = do.stack(
        [
            nats[0],
            log_norm,
            norm_change,
            *nats[1:],
            do.log(count),
            log_length,
            *(part for pair in zip(sizes, do.sign(signs), strict=True) for part in pair),
        ],
        -1,
    )
    # A loss of 1e30 is finite and its square is not: such a problem must not spoil the head's gradient for all.
    return do.nan_to_num(features * do.array(SCALES, features), nan=0.0, posinf=100.0, neginf=-100.0)
