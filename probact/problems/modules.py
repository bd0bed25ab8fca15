"""Networks small enough that hundreds of them are trained in a minute."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def perceptron(sizes: list[int], activation: type[nn.Module], normed: bool = False) -> nn.Sequential:
    """Fully connected layers of ``sizes`` on whatever shape of input, flattened."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(sizes[:-1]):
        layers += [nn.Linear(before, after), *([nn.LayerNorm(after)] if normed else []), activation()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def convolutional(channels: int, side: int, width: int, outputs: int) -> nn.Sequential:
    """Two convolutions, each halving the image."""
    left = (side + 3) // 4
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(2 * width * left * left, outputs),
    )  # fmt: skip


class Factors(nn.Module):
    """Rows and columns of a table as vectors, an entry as their product."""

    def __init__(self, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(0.3 * torch.randn(rows, rank))
        self.columns = nn.Parameter(0.3 * torch.randn(columns, rank))

    def forward(self, places: Tensor) -> Tensor:
        """Places ``(n, 2)`` -> ``(n, 1)``."""
        return (self.rows[places[:, 0]] * self.columns[places[:, 1]]).sum(-1, keepdim=True)


def gated(inward: Tensor, onward: nn.Linear) -> Tensor:
    """States ``(n, T, width)`` of a GRU (Cho et al., 2014), written out: torch's own cannot be vmapped.

    :param inward: what each input says, ``(n, T, 3 width)``; :param onward: what a state says to the next.
    """
    state = torch.zeros_like(inward[:, 0, : onward.in_features])
    states = []
    for position in range(inward.shape[1]):
        reset, update, new = inward[:, position].chunk(3, -1)
        from_reset, from_update, from_new = onward(state).chunk(3, -1)
        keep = torch.sigmoid(update + from_update)
        new = torch.tanh(new + torch.sigmoid(reset + from_reset) * from_new)
        state = new + keep * (state - new)
        states.append(state)
    return torch.stack(states, 1)


class Recurrent(nn.Module):
    """A GRU over characters."""

    def __init__(self, characters: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        self.inward = nn.Linear(width, 3 * width)
        self.onward = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, characters)

    def forward(self, text: Tensor) -> Tensor:
        """Text ``(n, T)`` -> logits of the next characters ``(n, T, characters)``."""
        return self.output(gated(self.inward(self.embedding(text)), self.onward))  # type: ignore[no-any-return]


class Summary(nn.Module):
    """A GRU that says one thing of a whole sequence of vectors."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.inward = nn.Linear(inputs, 3 * width)
        self.onward = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Sequences ``(n, T, inputs)`` -> ``(n, outputs)``."""
        return self.output(gated(self.inward(x), self.onward)[:, -1])  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """One block of causal attention of one head (Vaswani et al., 2017), norm first."""

    def __init__(self, characters: int, width: int, window: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        self.position = nn.Parameter(0.1 * torch.randn(window, width))
        self.norm = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.block = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.output = nn.Linear(width, characters)

    def forward(self, text: Tensor) -> Tensor:
        """Text ``(n, T)`` -> logits of the next characters ``(n, T, characters)``."""
        x = self.embedding(text) + self.position[: text.shape[1]]
        query, key, value = self.attention(self.norm(x)).chunk(3, -1)
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        ahead = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        x = x + F.softmax(scores.masked_fill(ahead, -torch.inf), -1) @ value
        return self.output(x + self.block(x))


class Traits(nn.Module):
    """Rows and columns of a table as vectors with an offset each, an entry as the vectors' product and the offsets."""

    def __init__(self, rows: int, columns: int, rank: int, scale: float) -> None:
        super().__init__()
        self.rows, self.columns = nn.Embedding(rows, 1 + rank), nn.Embedding(columns, 1 + rank)
        for table in (self.rows, self.columns):
            nn.init.normal_(table.weight, std=scale)

    def forward(self, places: Tensor) -> Tensor:
        """Places ``(n, 2)`` -> ``(n, 1)``."""
        row, column = self.rows(places[:, 0]), self.columns(places[:, 1])
        product = (row[:, 1:] * column[:, 1:]).sum(-1, keepdim=True)
        return product + row[:, :1] + column[:, :1]  # type: ignore[no-any-return]


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


def batch_normed(sizes: list[int], activation: type[nn.Module]) -> nn.Sequential:
    """``perceptron`` with batch norm (Ioffe and Szegedy, 2015), by the rows at hand also where it is judged."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(sizes[:-1]):
        norm = nn.BatchNorm1d(after, track_running_stats=False)
        layers += [nn.Linear(before, after), norm, activation()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def convolutional_batch_normed(channels: int, side: int, width: int, outputs: int) -> nn.Sequential:
    """``convolutional`` with batch norm, likewise."""
    left = (side + 3) // 4
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, 2, 1), nn.BatchNorm2d(width, track_running_stats=False), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, 2, 1), nn.BatchNorm2d(2 * width, track_running_stats=False), nn.ReLU(),
        nn.Flatten(), nn.Linear(2 * width * left * left, outputs),
    )  # fmt: skip


class Bag(nn.Module):
    """The mean of a bag's embeddings, and a network on it, or, not ``deep``, a linear layer."""

    def __init__(self, words: int, width: int, outputs: int, deep: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.network = perceptron([width, width, outputs] if deep else [width, outputs], nn.ReLU)

    def forward(self, bag: Tensor) -> Tensor:
        """Bags ``(n, words in one)`` -> ``(n, outputs)``."""
        return self.network(self.embedding(bag).mean(1))  # type: ignore[no-any-return]
