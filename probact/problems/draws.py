"""What the kinds of problems of ``assorted`` are drawn with: rows, functions of them, networks and their families."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from probact.problems.digits import read_digits
from probact.problems.modules import Residual, perceptron
from probact.problems.network import Data, NetworkFamily

Choice = TypeVar("Choice")

ACTIVATIONS = (nn.ReLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.SiLU)
WIDTHS = (8, 16, 32, 48, 64, 96)
BATCH_SIZES = (1, 4, 8, 16, 32, 64, 128)
OBSERVATIONS = 250
"""Rows of x: enough that the loss on them tells two optimizers apart."""


class Draw:
    """What is drawn for a batch of problems, by one generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def pick(self, choices: Sequence[Choice]) -> Choice:
        return choices[int(torch.randint(len(choices), (), generator=self.generator))]

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def log_uniform(self, low: float, high: float) -> float:
        return float(low * (high / low) ** self.uniform(0, 1))

    def chance(self, probability: float) -> bool:
        return self.uniform(0, 1) < probability

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def distributions(self, *shape: int, sharpness: float) -> Tensor:
        """Random ones over the last dimension."""
        return torch.softmax(sharpness * self.normal(*shape), -1)

    def from_distributions(self, probabilities: Tensor) -> Tensor:
        return torch.multinomial(probabilities, 1, generator=self.generator).squeeze(-1)


def rescaled(network: nn.Module, scale: float) -> nn.Module:
    """The network with its weights multiplied: an initialisation that is none of the best."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.mul_(scale)
    return network


def squares(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean square error of each row, ``(n,)``."""
    return (outputs - targets).square().flatten(1).mean(1)


def log_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax(logits)[label], its mean over each row's labels, ``(n,)``."""
    each = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none")
    return each.view(len(labels), -1).mean(1)


def family_of(
    draw: Draw,
    make: Callable[[], nn.Module],
    x: Tensor,
    y: Tensor,
    most: int = 128,
    least: int = 1,
    rows: int | None = None,
) -> NetworkFamily:
    """Some networks in ten are badly initialised; x and y are shuffled already, and are in part held out.

    :param most, least: rows of a minibatch.
    :param rows: to train on; None: all that are not held out.
    """
    scale = draw.pick((1.0,) * 8 + (0.3, 3.0))
    held_out = min(OBSERVATIONS, len(x) // 3)
    end = len(x) if rows is None else held_out + rows
    train: Data = (x[held_out:end], y[held_out:end])
    return NetworkFamily(
        make if scale == 1 else lambda: rescaled(make(), scale),
        squares if y.is_floating_point() else log_losses,
        train,
        (x[:held_out], y[:held_out]),
        batch_size=draw.pick([size for size in BATCH_SIZES if least <= size <= most]),
        observations=held_out,
    )


def features(draw: Draw) -> tuple[Tensor, int]:
    """Rows ``(n, p)``: correlated, at times of several scales."""
    p, num = draw.pick((2, 4, 8, 16, 32)), draw.pick((400, 1000, 4000))
    mix = torch.eye(p) + draw.uniform(0, 1) * draw.normal(p, p) / p**0.5
    x = draw.normal(num, p) @ mix
    if draw.chance(0.3):
        x = x * 10 ** (draw.uniform(0, 0.8) * draw.normal(p))
    return x, p


def function(draw: Draw, x: Tensor, outputs: int) -> Tensor:
    """A random network or sum of waves of standardised rows ``(n, p)``, itself standardised, ``(n, outputs)``."""
    x = (x - x.mean(0)) / x.std(0)
    p, waves = x.shape[1], draw.chance(0.5)
    width = draw.pick((2, 5, 20))
    hidden = x @ draw.normal(p, width) * (draw.uniform(0.3, 2) / p**0.5) + draw.normal(width)
    y = (torch.sin(2 * hidden) if waves else torch.tanh(2 * hidden)) @ draw.normal(width, outputs)
    return (y - y.mean(0)) / y.std(0)


def network(draw: Draw, inputs: int, outputs: int) -> Callable[[], nn.Module]:
    """What builds a perceptron, at times with layer norm, or a residual network."""
    depth, width, activation = draw.pick((1, 1, 2, 2, 3, 5)), draw.pick(WIDTHS), draw.pick(ACTIVATIONS)
    if draw.chance(0.2):
        return lambda: Residual(inputs, width, depth, outputs, activation)
    normed = draw.chance(0.2)
    return lambda: perceptron([inputs, *[width] * depth, outputs], activation, normed)


def digits(draw: Draw) -> Data:
    """Those of the training images, shuffled."""
    x, labels = read_digits()[0]
    order = torch.randperm(len(labels), generator=draw.generator)
    x = x.view(-1, 1, 8, 8)[order]
    return (x - x.mean()) / x.std() if draw.chance(0.5) else x, labels[order]
