"""Small networks of many kinds on generated data, for optimizers that are to work on what they never saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from probact.problems.base import FAMILIES, Optimizee, OptimizeeFamily
from probact.problems.digits import read_digits
from probact.problems.modules import Factors, Recurrent, Transformer, convolutional, perceptron
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


class Residual(nn.Module):
    """Fully connected blocks beside an identity, with layer norm first."""

    def __init__(self, inputs: int, width: int, depth: int, outputs: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        blocks = [nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), activation()) for _ in range(depth)]
        self.blocks = nn.ModuleList(blocks)
        self.last = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.flatten(1))
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)  # type: ignore[no-any-return]


class Bag(nn.Module):
    """The mean of a bag's embeddings, and a network on it."""

    def __init__(self, words: int, width: int, outputs: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.network = perceptron([width, width, outputs], nn.ReLU)

    def forward(self, bag: Tensor) -> Tensor:
        """Bags ``(n, words in one)`` -> ``(n, outputs)``."""
        return self.network(self.embedding(bag).mean(1))  # type: ignore[no-any-return]


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


def _family(draw: Draw, make: Callable[[], nn.Module], x: Tensor, y: Tensor, most: int = 128) -> NetworkFamily:
    """Some networks in ten are badly initialised; x and y are shuffled already, and are in part held out."""
    scale = draw.pick((1.0,) * 8 + (0.3, 3.0))
    held_out = min(OBSERVATIONS, len(x) // 3)
    train: Data = (x[held_out:], y[held_out:])
    return NetworkFamily(
        make if scale == 1 else lambda: rescaled(make(), scale),
        squares if y.is_floating_point() else log_losses,
        train,
        (x[:held_out], y[:held_out]),
        batch_size=draw.pick([size for size in BATCH_SIZES if size <= most]),
        observations=held_out,
    )


def _features(draw: Draw) -> tuple[Tensor, int]:
    """Rows ``(n, p)``: correlated, at times of several scales."""
    p, num = draw.pick((2, 4, 8, 16, 32)), draw.pick((400, 1000, 4000))
    mix = torch.eye(p) + draw.uniform(0, 1) * draw.normal(p, p) / p**0.5
    x = draw.normal(num, p) @ mix
    if draw.chance(0.3):
        x = x * 10 ** (draw.uniform(0, 0.8) * draw.normal(p))
    return x, p


def _function(draw: Draw, x: Tensor, outputs: int) -> Tensor:
    """A random network or sum of waves of standardised rows ``(n, p)``, itself standardised, ``(n, outputs)``."""
    x = (x - x.mean(0)) / x.std(0)
    p, waves = x.shape[1], draw.chance(0.5)
    width = draw.pick((2, 5, 20))
    hidden = x @ draw.normal(p, width) * (draw.uniform(0.3, 2) / p**0.5) + draw.normal(width)
    y = (torch.sin(2 * hidden) if waves else torch.tanh(2 * hidden)) @ draw.normal(width, outputs)
    return (y - y.mean(0)) / y.std(0)


def _network(draw: Draw, inputs: int, outputs: int) -> Callable[[], nn.Module]:
    depth, width, activation = draw.pick((1, 1, 2, 2, 3, 5)), draw.pick(WIDTHS), draw.pick(ACTIVATIONS)
    if draw.chance(0.2):
        return lambda: Residual(inputs, width, depth, outputs, activation)
    normed = draw.chance(0.2)
    return lambda: perceptron([inputs, *[width] * depth, outputs], activation, normed)


def regression(draw: Draw) -> NetworkFamily:
    """Networks on a random function with noise."""
    x, p = _features(draw)
    outputs = draw.pick((1, 1, 3))
    y = _function(draw, x, outputs)
    y = y + draw.pick((0.0, 0.0, 0.1, 0.5, 1.0)) * draw.normal(*y.shape)
    return _family(draw, _network(draw, p, outputs), x, y)


def classification(draw: Draw) -> NetworkFamily:
    """Networks on clusters, or on what a random function says, with wrong labels in part."""
    x, p = _features(draw)
    classes = draw.pick((2, 3, 5, 10))
    if draw.chance(0.5):
        centres = draw.uniform(0.5, 3) * draw.normal(classes * draw.pick((1, 3)), p)
        cluster = torch.randint(len(centres), (len(x),), generator=draw.generator)
        x, y = x + centres[cluster], cluster % classes
    else:
        y = (draw.uniform(1, 5) * _function(draw, x, classes)).argmax(-1)
    wrong = torch.rand(len(y), generator=draw.generator) < draw.pick((0.0, 0.0, 0.1, 0.3))
    y = torch.where(wrong, torch.randint(classes, y.shape, generator=draw.generator), y)
    return _family(draw, _network(draw, p, classes), x, y)


def linear(draw: Draw) -> NetworkFamily:
    """Linear and softmax regression, ill-conditioned in part."""
    x, p = _features(draw)
    if draw.chance(0.5):
        y = x @ draw.normal(p, 1) / p**0.5
        y = y / y.std() + draw.pick((0.0, 0.1, 0.5)) * draw.normal(len(x), 1)
        return _family(draw, lambda: perceptron([p, 1], nn.Identity), x, y)
    classes = draw.pick((2, 3, 10))
    y = draw.from_distributions(torch.softmax(draw.uniform(1, 4) * _function(draw, x, classes), -1))
    return _family(draw, lambda: perceptron([p, classes], nn.Identity), x, y)


def autoencoder(draw: Draw) -> NetworkFamily:
    """Networks with a bottleneck on images of digits, or on what a random network makes of a few numbers."""
    if draw.chance(0.5):
        x = _digits(draw)[0].flatten(1)
    else:
        x = torch.tanh(_function(draw, draw.normal(2000, draw.pick((2, 4, 8))), draw.pick((20, 60))))
    width, code, activation = draw.pick((16, 32, 64)), draw.pick((2, 4, 8, 16)), draw.pick((nn.Tanh, nn.ReLU, nn.GELU))
    sizes = [x.shape[1], width, code, width, x.shape[1]]
    return _family(draw, lambda: perceptron(sizes, activation), x, x)


def _digits(draw: Draw) -> Data:
    """Those of the training images, shuffled."""
    x, labels = read_digits()[0]
    order = torch.randperm(len(labels), generator=draw.generator)
    x = x.view(-1, 1, 8, 8)[order]
    return (x - x.mean()) / x.std() if draw.chance(0.5) else x, labels[order]


def images(draw: Draw) -> NetworkFamily:
    """Networks on images of digits, half of them convolutional."""
    x, y = _digits(draw)
    if draw.chance(0.5):
        return _family(draw, _network(draw, 64, 10), x, y)
    width = draw.pick((4, 8, 16))
    return _family(draw, lambda: convolutional(1, 8, width, 10), x, y, most=32)


def text(draw: Draw) -> NetworkFamily:
    """Recurrent networks and transformers on symbols of which one or two tell the next."""
    symbols, length, num = draw.pick((4, 8, 16, 30)), draw.pick((6, 10, 16)), 1500
    sharpness = draw.uniform(1, 4)
    if draw.chance(0.5):
        next_of = draw.distributions(1, symbols, symbols, sharpness=sharpness).expand(symbols, -1, -1)
    else:
        next_of = draw.distributions(symbols, symbols, symbols, sharpness=sharpness)
    written = [torch.randint(symbols, (num,), generator=draw.generator) for _ in range(2)]
    for _ in range(length):
        written.append(draw.from_distributions(next_of[written[-2], written[-1]]))
    rows = torch.stack(written[1:], 1)
    width = draw.pick((12, 24, 32))
    if draw.chance(0.5):
        return _family(draw, lambda: Recurrent(symbols, width), rows[:, :-1], rows[:, 1:], most=16)
    return _family(draw, lambda: Transformer(symbols, width, length), rows[:, :-1], rows[:, 1:], most=16)


def factorisation(draw: Draw) -> NetworkFamily:
    """A table of low rank with noise, of which some entries are seen."""
    rows, columns, rank = draw.pick((30, 100, 200)), draw.pick((30, 80)), draw.pick((1, 3, 6))
    table = draw.normal(rows, rank) @ draw.normal(rank, columns) / rank**0.5
    table = table + draw.pick((0.05, 0.3, 1.0)) * draw.normal(rows, columns)
    places = torch.randperm(rows * columns, generator=draw.generator)[: draw.pick((2000, 6000))]
    x = torch.stack([places // columns, places % columns], 1)
    own = draw.pick((2, 4, 8))
    return _family(draw, lambda: Factors(rows, columns, own), x, table.flatten()[places].unsqueeze(-1))


def bags(draw: Draw) -> NetworkFamily:
    """Bags of words by topic: most words are rare."""
    words, classes, size = draw.pick((50, 300)), draw.pick((2, 5)), draw.pick((5, 15))
    odds = draw.distributions(classes, words, sharpness=draw.uniform(0.5, 2))
    y = torch.randint(classes, (2000,), generator=draw.generator)
    x = torch.multinomial(odds[y], size, replacement=True, generator=draw.generator)
    width = draw.pick((8, 16, 32))
    return _family(draw, lambda: Bag(words, width, classes), x, y)


KINDS: Mapping[str, Callable[[Draw], NetworkFamily]] = {
    kind.__name__: kind for kind in (regression, classification, linear, autoencoder, images, text, factorisation, bags)
}


@FAMILIES.register("assorted")
class Assorted(OptimizeeFamily):
    """Small networks of many kinds on generated data and digits, for optimizers that are to work on new ones.

    Each batch of problems has its own kind, data, shapes, noise and batch size.
    """

    recommended: ClassVar[Mapping[str, Any]] = {
        "batch": 16,
        "horizon": 200,
        "halting": "none",
        "validation_problems": 8,
        "test_problems": 16,
    }

    def __init__(self, kinds: tuple[str, ...] = tuple(KINDS)) -> None:
        if not kinds or (wrong := [kind for kind in kinds if kind not in KINDS]):
            got = wrong[0] if kinds else "none"
            raise ValueError(f"family 'assorted': expected kinds among {', '.join(KINDS)}, got {got}")
        self.kinds = kinds

    @property
    def members(self) -> Sequence[OptimizeeFamily]:
        """One for each kind."""
        return [Assorted((kind,)) for kind in self.kinds]

    def sample(self, num: int, generator: torch.Generator) -> Optimizee:
        draw = Draw(generator)
        return KINDS[draw.pick(self.kinds)](draw).sample(num, generator)
