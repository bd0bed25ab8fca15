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


class Recurrent(nn.Module):
    """A GRU over characters (Cho et al., 2014), written out: torch's own cannot be vmapped."""

    def __init__(self, characters: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        self.inward = nn.Linear(width, 3 * width)
        self.onward = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, characters)

    def forward(self, text: Tensor) -> Tensor:
        """Text ``(n, T)`` -> logits of the next characters ``(n, T, characters)``."""
        inward = self.inward(self.embedding(text))
        state = torch.zeros_like(inward[:, 0, : self.onward.in_features])
        states = []
        for position in range(text.shape[1]):
            reset, update, new = inward[:, position].chunk(3, -1)
            from_reset, from_update, from_new = self.onward(state).chunk(3, -1)
            keep = torch.sigmoid(update + from_update)
            new = torch.tanh(new + torch.sigmoid(reset + from_reset) * from_new)
            state = new + keep * (state - new)
            states.append(state)
        return self.output(torch.stack(states, 1))


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
