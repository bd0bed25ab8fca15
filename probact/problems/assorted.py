"""Small networks of many kinds on generated data, for optimizers that are to work on what they never saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from probact.problems.base import FAMILIES, Optimizee, OptimizeeFamily
from probact.problems.draws import Draw, digits, family_of, features, function, network
from probact.problems.further_kinds import FURTHER
from probact.problems.modules import Bag, Factors, Recurrent, Transformer, convolutional, perceptron
from probact.problems.network import NetworkFamily


def regression(draw: Draw) -> NetworkFamily:
    """Networks on a random function with noise."""
    x, p = features(draw)
    outputs = draw.pick((1, 1, 3))
    y = function(draw, x, outputs)
    y = y + draw.pick((0.0, 0.0, 0.1, 0.5, 1.0)) * draw.normal(*y.shape)
    return family_of(draw, network(draw, p, outputs), x, y)


def classification(draw: Draw) -> NetworkFamily:
    """Networks on clusters, or on what a random function says, with wrong labels in part."""
    x, p = features(draw)
    classes = draw.pick((2, 3, 5, 10))
    if draw.chance(0.5):
        centres = draw.uniform(0.5, 3) * draw.normal(classes * draw.pick((1, 3)), p)
        cluster = torch.randint(len(centres), (len(x),), generator=draw.generator)
        x, y = x + centres[cluster], cluster % classes
    else:
        y = (draw.uniform(1, 5) * function(draw, x, classes)).argmax(-1)
    wrong = torch.rand(len(y), generator=draw.generator) < draw.pick((0.0, 0.0, 0.1, 0.3))
    y = torch.where(wrong, torch.randint(classes, y.shape, generator=draw.generator), y)
    return family_of(draw, network(draw, p, classes), x, y)


def linear(draw: Draw) -> NetworkFamily:
    """Linear and softmax regression, ill-conditioned in part."""
    x, p = features(draw)
    if draw.chance(0.5):
        y = x @ draw.normal(p, 1) / p**0.5
        y = y / y.std() + draw.pick((0.0, 0.1, 0.5)) * draw.normal(len(x), 1)
        return family_of(draw, lambda: perceptron([p, 1], nn.Identity), x, y)
    classes = draw.pick((2, 3, 10))
    y = draw.from_distributions(torch.softmax(draw.uniform(1, 4) * function(draw, x, classes), -1))
    return family_of(draw, lambda: perceptron([p, classes], nn.Identity), x, y)


def autoencoder(draw: Draw) -> NetworkFamily:
    """Networks with a bottleneck on images of digits, or on what a random network makes of a few numbers."""
    if draw.chance(0.5):
        x = digits(draw)[0].flatten(1)
    else:
        x = torch.tanh(function(draw, draw.normal(2000, draw.pick((2, 4, 8))), draw.pick((20, 60))))
    width, code, activation = draw.pick((16, 32, 64)), draw.pick((2, 4, 8, 16)), draw.pick((nn.Tanh, nn.ReLU, nn.GELU))
    sizes = [x.shape[1], width, code, width, x.shape[1]]
    return family_of(draw, lambda: perceptron(sizes, activation), x, x)


def images(draw: Draw) -> NetworkFamily:
    """Networks on images of digits, half of them convolutional."""
    x, y = digits(draw)
    if draw.chance(0.5):
        return family_of(draw, network(draw, 64, 10), x, y)
    width = draw.pick((4, 8, 16))
    return family_of(draw, lambda: convolutional(1, 8, width, 10), x, y, most=32)


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
        return family_of(draw, lambda: Recurrent(symbols, width), rows[:, :-1], rows[:, 1:], most=16)
    return family_of(draw, lambda: Transformer(symbols, width, length), rows[:, :-1], rows[:, 1:], most=16)


def factorisation(draw: Draw) -> NetworkFamily:
    """A table of low rank with noise, of which some entries are seen."""
    rows, columns, rank = draw.pick((30, 100, 200)), draw.pick((30, 80)), draw.pick((1, 3, 6))
    table = draw.normal(rows, rank) @ draw.normal(rank, columns) / rank**0.5
    table = table + draw.pick((0.05, 0.3, 1.0)) * draw.normal(rows, columns)
    places = torch.randperm(rows * columns, generator=draw.generator)[: draw.pick((2000, 6000))]
    x = torch.stack([places // columns, places % columns], 1)
    own = draw.pick((2, 4, 8))
    return family_of(draw, lambda: Factors(rows, columns, own), x, table.flatten()[places].unsqueeze(-1))


def bags(draw: Draw) -> NetworkFamily:
    """Bags of words by topic: most words are rare."""
    words, classes, size = draw.pick((50, 300)), draw.pick((2, 5)), draw.pick((5, 15))
    odds = draw.distributions(classes, words, sharpness=draw.uniform(0.5, 2))
    y = torch.randint(classes, (2000,), generator=draw.generator)
    x = torch.multinomial(odds[y], size, replacement=True, generator=draw.generator)
    width = draw.pick((8, 16, 32))
    return family_of(draw, lambda: Bag(words, width, classes), x, y)


KINDS: Mapping[str, Callable[[Draw], NetworkFamily]] = {
    kind.__name__: kind
    for kind in (regression, classification, linear, autoencoder, images, text, factorisation, bags, *FURTHER)
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
