"""Many networks of one shape trained at once, each on minibatches and at a rate of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.optim import Adam, Optimizer

from probact.curves.data_sets.base import Points
from probact.curves.knobs import OPTIMIZERS, SCHEDULES, Knobs, Split, losses

EARLIER_STEPS, EARLIER_BATCH, EARLIER_RATE = 300, 32, 3e-3
"""Training on what comes before a curve begins, by Adam."""
LOST_LOOKS = 3
"""Looks that a curve goes on for when its loss is no number any more."""


class Losses(NamedTuple):
    """Of R runs at looks 0..K, float64 ``(R, K + 1)``; ``train`` is NaN at look 0."""

    train: NDArray[np.float64]
    valid: NDArray[np.float64]
    test: NDArray[np.float64]

    def ended(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
        """All three with inf for ``LOST_LOOKS`` looks where one is no number any more, then NaN; and their lengths."""
        tables = [np.where(np.isnan(table), np.inf, table).astype(np.float32) for table in self]
        looks = np.arange(tables[0].shape[1])
        lost = np.isinf(tables[1]) | np.isinf(tables[2])
        first_lost = np.where(lost.any(1), lost.argmax(1), len(looks))
        lengths = np.minimum(first_lost + LOST_LOOKS - 1, len(looks) - 1)
        for table in tables:
            table[looks >= first_lost[:, None]] = np.inf
            table[looks > lengths[:, None]] = np.nan
        tables[0][:, 0] = np.nan
        return (*tables, lengths.astype(np.int64))  # type: ignore[return-value]


class Networks:
    """R networks side by side.

    :param make: builds one, with weights at random.
    :param scale: of these weights.
    """

    def __init__(self, make: Callable[[], nn.Module], num: int, scale: float) -> None:
        networks = [make() for _ in range(num)]
        stacked, _ = stack_module_state(networks)
        self.num = num
        self.weights = {name: (scale * weight.detach()).requires_grad_() for name, weight in stacked.items()}
        skeleton = networks[0].to("meta")

        def of_one(weights: dict[str, Tensor], x: Tensor) -> Tensor:
            return functional_call(skeleton, weights, (x,))

        self._of_the_same = vmap(of_one, in_dims=(0, None))
        self._of_each = vmap(of_one)

    @torch.no_grad()
    def losses(self, points: Points) -> NDArray[np.float64]:
        """``(R,)``."""
        outputs = self._of_the_same(self.weights, points.x)
        return losses(outputs, points.y.expand(self.num, *points.y.shape)).double().numpy()

    def gradients(self, points: Points, size: int, generator: np.random.Generator) -> NDArray[np.float64]:
        """Put the gradients of minibatches of ``size`` into ``grad``; their losses ``(R,)``."""
        chosen = torch.from_numpy(generator.integers(len(points.x), size=(self.num, size)))
        found = losses(self._of_each(self.weights, points.x[chosen]), points.y[chosen])
        for weight, gradient in zip(self.leaves, torch.autograd.grad(found.sum(), self.leaves), strict=True):
            weight.grad = gradient
        return found.detach().double().numpy()

    @property
    def leaves(self) -> list[Tensor]:
        """The weights without their names."""
        return list(self.weights.values())


def train_together(
    make: Callable[[], nn.Module], split: Split, knobs: Knobs, rates: Tensor, generator: np.random.Generator
) -> Losses:
    """R runs at ``rates (R,)``.

    The steps are those of ``torch.optim`` at rate 1, shortened: all optimizers here are linear in it.
    """
    networks = Networks(make, len(rates), knobs.scale)
    if split.train.earlier is not None:
        _begin(networks, split.train.earlier, generator)
    optimizer, _ = OPTIMIZERS[knobs.optimizer]
    decay = 10 * knobs.decay if knobs.optimizer == "adamw" else knobs.decay
    whole = optimizer(networks.leaves, lr=1.0, weight_decay=decay)
    steps = knobs.looks * knobs.every
    train = [np.full(len(rates), np.nan)]
    valid, test = [networks.losses(split.valid)], [networks.losses(split.test)]
    for look in range(knobs.looks):
        total = np.zeros(len(rates))
        for step in range(look * knobs.every + 1, (look + 1) * knobs.every + 1):
            total += networks.gradients(split.train, knobs.batch, generator)
            _shortened_step(whole, networks.leaves, SCHEDULES[knobs.schedule](step / steps) * rates)
        train.append(total / knobs.every)
        valid.append(networks.losses(split.valid))
        test.append(networks.losses(split.test))
    return Losses(*(np.stack(columns, 1) for columns in (train, valid, test)))


@torch.no_grad()
def _shortened_step(whole: Optimizer, weights: list[Tensor], rates: Tensor) -> None:
    before = [weight.clone() for weight in weights]
    whole.step()
    for weight, old in zip(weights, before, strict=True):
        weight.copy_(old.lerp(weight, rates.view(-1, *[1] * (weight.dim() - 1))))


def _begin(networks: Networks, points: Points, generator: np.random.Generator) -> None:
    adam = Adam(networks.leaves, lr=EARLIER_RATE)
    for _ in range(EARLIER_STEPS):
        networks.gradients(points, EARLIER_BATCH, generator)
        adam.step()
