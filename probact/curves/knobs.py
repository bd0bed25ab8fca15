"""How runs are trained: what is drawn at random for a group of them, and which points they get."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Self, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from probact.curves.data_sets.base import Points

Choice = TypeVar("Choice")

OPTIMIZERS: dict[str, tuple[Callable[..., Optimizer], float]] = {
    "sgd": (SGD, 0.1),
    "momentum": (partial(SGD, momentum=0.9), 0.02),
    "adam": (Adam, 3e-3),
    "adamw": (AdamW, 3e-3),
    "rmsprop": (RMSprop, 2e-3),
}
"""Name -> class, and a rate in the middle of those that are tried."""
RATES = (-1.3, 1.1)
"""Powers of ten around that rate, from too small to too large."""
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda share: 1.0,
    "cosine": lambda share: 0.5 * (1 + math.cos(math.pi * share)),
    "step": lambda share: 0.1 ** ((share > 0.5) + (share > 0.75)),
    "warm-up": lambda share: min(1.0, 10 * share),
}
"""Name -> factor of the rate, by the share of the training that is over."""


def pick(generator: np.random.Generator, choices: Sequence[Choice]) -> Choice:
    """One of them at random."""
    return choices[int(generator.integers(len(choices)))]


@dataclass(frozen=True)
class Knobs:
    """What the runs of a group have in common.

    :ivar decay: weight decay, with AdamW 10 times that.
    :ivar scale: of the first weights, in those that are usual.
    :ivar every: steps a look.
    """

    optimizer: str
    schedule: str
    batch: int
    train_size: int
    valid_size: int
    label_noise: float
    decay: float
    scale: float
    looks: int
    every: int

    @classmethod
    def draw(cls, generator: np.random.Generator) -> Self:
        """At random."""
        return cls(
            optimizer=pick(generator, ("sgd", "momentum", "adam", "adam", "adamw", "rmsprop")),
            schedule=pick(generator, ("constant", "constant", *SCHEDULES)),
            batch=pick(generator, (8, 16, 32)),
            train_size=pick(generator, (40, 100, 300, 1000, 2000)),
            valid_size=pick(generator, (20, 50, 100, 200, 500, 1000)),
            label_noise=pick(generator, (0.0, 0.0, 0.1, 0.3)),
            decay=pick(generator, (0.0, 0.0, 1e-4, 1e-3, 1e-2)),
            scale=pick(generator, (1.0, 1.0, 1.0, 0.3, 2.0, 4.0)),
            looks=pick(generator, (60, 100, 150, 200, 200)),
            every=pick(generator, (1, 2, 4, 8)),
        )

    def rates(self, num: int, generator: np.random.Generator) -> Tensor:
        """Of ``num`` runs."""
        rates = OPTIMIZERS[self.optimizer][1] * 10 ** generator.uniform(*RATES, num)
        return torch.from_numpy(rates).float()


class Split(NamedTuple):
    """The points of a group of runs."""

    train: Points
    valid: Points
    test: Points


def split(points: Points, knobs: Knobs, generator: np.random.Generator, most_test: int = 400) -> Split:
    """At most ``most_test`` to test on, at most three fifths to train on; the labels of the latter get noise.

    A class is replaced by one at random with probability ``label_noise``; to values that much normal noise is added.
    """
    num = len(points.x)
    order = torch.from_numpy(generator.permutation(num))
    test = min(max(num // 4, 30), num // 3, most_test)
    train = min(knobs.train_size, 3 * num // 5)
    valid = min(knobs.valid_size, num - test - train)
    sizes = [train, valid, num - test - train - valid, test]
    for_train, for_valid, _, for_test = (points.at(index) for index in order.split(sizes))
    if points.y.is_floating_point():
        noise = torch.from_numpy(generator.normal(size=for_train.y.shape)).float()
        noisy = for_train.y + knobs.label_noise * noise
    else:
        other = torch.from_numpy(generator.integers(points.outputs, size=for_train.y.shape))
        wrong = torch.from_numpy(generator.random(for_train.y.shape)) < knobs.label_noise
        noisy = torch.where(wrong, other, for_train.y)
    return Split(for_train._replace(y=noisy), for_valid, for_test)


def losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over points and what else there is, of each of R runs, ``(R, n, ...)`` -> ``(R,)``.

    Log loss of classes, in nats, ``outputs`` having one more dimension; square error of values.
    """
    if targets.is_floating_point():
        return (outputs - targets).square().flatten(1).mean(1)
    each = F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction="none")
    return each.view(len(outputs), -1).mean(1)
