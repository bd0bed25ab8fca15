"""Further kinds of problems of ``assorted``: few rows, rare words, batch norm, sequences, wide and deep networks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from probact.problems.draws import ACTIVATIONS, Draw, digits, family_of, features, function, network
from probact.problems.modules import (
    Bag,
    Residual,
    Summary,
    Traits,
    batch_normed,
    convolutional,
    convolutional_batch_normed,
    perceptron,
)
from probact.problems.network import NetworkFamily


def _classes(draw: Draw, x: Tensor, most: int = 10) -> tuple[Tensor, int]:
    """What a random function of rows ``(n, p)`` says, ``(n,)``, and of how many classes."""
    classes = draw.pick([num for num in (2, 3, 5, 10) if num <= most])
    return (draw.uniform(1, 5) * function(draw, x, classes)).argmax(-1), classes


def _wrong(draw: Draw, y: Tensor, classes: int, share: float) -> Tensor:
    """So many labels drawn again."""
    again = torch.rand(len(y), generator=draw.generator) < share
    return torch.where(again, torch.randint(classes, y.shape, generator=draw.generator), y)


def few_rows(draw: Draw) -> NetworkFamily:
    """Few rows, some with a wrong label, to be learned by heart, where rows held out are what counts."""
    rows, share = draw.pick((40, 100, 200, 400)), draw.pick((0.0, 0.0, 0.1, 0.3))
    most = min(rows, 64)
    if draw.chance(0.5):
        x, y = digits(draw)
        y = _wrong(draw, y, 10, share)
        width = draw.pick((8, 16))
        make = network(draw, 64, 10) if draw.chance(0.5) else lambda: convolutional(1, 8, width, 10)
        return family_of(draw, make, x, y, most=most, least=4, rows=rows)
    p = draw.pick((4, 10, 20, 40))
    x = draw.normal(250 + 2 * rows + 250, p)
    if draw.chance(0.4):
        y = function(draw, x, 1)
        return family_of(draw, network(draw, p, 1), x, y + share * draw.normal(*y.shape), most, 4, rows)
    y, classes = _classes(draw, x)
    return family_of(draw, network(draw, p, classes), x, _wrong(draw, y, classes, share), most, 4, rows)


def rare_words(draw: Draw) -> NetworkFamily:
    """Bags of words whose frequencies fall as 1 / rank (Zipf): their topic, or a mean of hidden scores."""
    words, size, num = draw.pick((300, 1000)), draw.pick((5, 10, 20)), 3000
    often = 1 / torch.arange(1, words + 1, dtype=torch.float32)
    width, deep = draw.pick((8, 16, 24)), draw.chance(0.5)
    if draw.chance(0.4):
        x = torch.multinomial(often.expand(num, -1), size, replacement=True, generator=draw.generator)
        score = draw.normal(words)[x].mean(1, keepdim=True) * size**0.5
        return family_of(draw, lambda: Bag(words, width, 1, deep), x, score + 0.3 * draw.normal(num, 1), least=8)
    topics = draw.pick((2, 4, 8))
    odds = often * (draw.uniform(0.5, 2) * draw.normal(topics, words)).exp()
    y = torch.randint(topics, (num,), generator=draw.generator)
    x = torch.multinomial(odds[y], size, replacement=True, generator=draw.generator)
    return family_of(draw, lambda: Bag(words, width, topics, deep), x, y, least=8)


def batch_norm(draw: Draw) -> NetworkFamily:
    """Networks with batch norm on digits, half of them convolutional, or on what a random function says."""
    if draw.chance(0.4):
        x, y = digits(draw)
        width = draw.pick((4, 8, 16))
        return family_of(draw, lambda: convolutional_batch_normed(1, 8, width, 10), x, y, most=64, least=16)
    if draw.chance(0.3):
        x, y = digits(draw)
        p, outputs = 64, 10
    else:
        x, p = features(draw)
        y, outputs = _classes(draw, x)
    sizes, activation = [p, *[draw.pick((16, 32, 64))] * draw.pick((1, 2, 3)), outputs], draw.pick(ACTIVATIONS)
    return family_of(draw, lambda: batch_normed(sizes, activation), x, y, least=16)


def sums(draw: Draw) -> NetworkFamily:
    """A GRU is to name the sum of the numbers that are marked in a sequence, or which of two marked ones is larger."""
    length, num, width = draw.pick((6, 10, 14)), 2000, draw.pick((12, 24, 32))
    values = torch.rand(num, length, generator=draw.generator)
    marked = torch.rand(num, length, generator=draw.generator).argsort(-1)[:, :2].sort(-1).values
    marks = torch.zeros(num, length).scatter_(1, marked, 1.0)
    x = torch.stack([values, marks], -1)
    of_two = values.gather(1, marked)
    if draw.chance(0.5):
        y = of_two.sum(1, keepdim=True)
        return family_of(draw, lambda: Summary(2, width, 1), x, y, most=32, least=8)
    return family_of(draw, lambda: Summary(2, width, 2), x, (of_two[:, 0] < of_two[:, 1]).long(), most=32, least=8)


def wide(draw: Draw) -> NetworkFamily:
    """Wide networks, of one hidden layer or two, on digits or on a random function."""
    width, activation = draw.pick((128, 256, 512)), draw.pick(ACTIVATIONS)
    hidden = [width] if width > 128 or draw.chance(0.5) else [width, width]
    if draw.chance(0.5):
        x, y = digits(draw)
        return family_of(draw, lambda: perceptron([64, *hidden, 10], activation), x, y, most=32)
    x, p = features(draw)
    y = function(draw, x, 1)
    y = y + draw.pick((0.0, 0.1, 0.5)) * draw.normal(*y.shape)
    return family_of(draw, lambda: perceptron([p, *hidden, 1], activation), x, y, most=32)


def deep(draw: Draw) -> NetworkFamily:
    """Narrow networks of four to six hidden layers, plain, with layer norm or residual."""
    depth, width, activation = draw.pick((4, 5, 6)), draw.pick((8, 16, 32, 48)), draw.pick(ACTIVATIONS)
    kind = draw.pick(("plain", "plain", "normed", "residual"))
    x, p = features(draw)
    y, outputs = (function(draw, x, 1), 1) if draw.chance(0.5) else _classes(draw, x)

    def make() -> nn.Module:
        if kind == "residual":
            return Residual(p, width, depth, outputs, activation)
        return perceptron([p, *[width] * depth, outputs], activation, kind == "normed")

    return family_of(draw, make, x, y)


def ratings(draw: Draw) -> NetworkFamily:
    """A noisy table of low rank with offsets, of which some entries are seen, of some rows few."""
    rows, columns, rank = draw.pick((60, 120, 200)), draw.pick((40, 100)), draw.pick((1, 3, 5))
    num, often = draw.pick((2000, 6000)), 1 / torch.arange(1, rows + 1, dtype=torch.float32) ** draw.pick((0.0, 0.5, 1))
    row = torch.multinomial(often, num, replacement=True, generator=draw.generator)
    column = torch.randint(columns, (num,), generator=draw.generator)
    exact = (draw.normal(rows, rank)[row] * draw.normal(columns, rank)[column]).sum(-1) / rank**0.5
    exact = exact + draw.uniform(0, 1) * (draw.normal(rows)[row] + draw.normal(columns)[column])
    y = exact + draw.pick((0.05, 0.3, 1.0)) * draw.normal(num)
    own, scale = draw.pick((2, 4, 8)), draw.pick((0.03, 0.1, 0.3))
    x = torch.stack([row, column], 1)
    return family_of(draw, lambda: Traits(rows, columns, own, scale), x, y.unsqueeze(-1), least=8)


FURTHER: tuple[Callable[[Draw], NetworkFamily], ...] = (few_rows, rare_words, batch_norm, sums, wide, deep, ratings)
