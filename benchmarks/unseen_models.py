"""Modules and losses of the tasks of ``unseen.py``, as a user would write them; the output layer comes last."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def mlp(*sizes: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def cnn(channels: tuple[int, ...], side: int, norm: bool) -> nn.Sequential:
    """Convolutions 3 x 3 with stride 2, and ten logits."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)]
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()] if norm else [nn.ReLU()]
        side = (side + 1) // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * side**2, 10))


class ResidualMLP(nn.Module):
    def __init__(self, inputs: int, width: int, depth: int, outputs: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Flatten(), nn.Linear(inputs, width))
        block = [nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU()) for _ in range(depth)]
        self.blocks = nn.ModuleList(block)
        self.output = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = x + block(x)
        return self.output(x)


class Transformer(nn.Module):
    """Logits of the next symbol."""

    def __init__(self, symbols: int, length: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(symbols, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.output = nn.Linear(width, symbols)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, text: Tensor) -> Tensor:
        return self.output(self.body(self.embed(text) + self.place.weight, mask=self.mask, is_causal=True))


class Recurrent(nn.Module):
    """A GRU's logits of the next symbol."""

    def __init__(self, symbols: int, width: int) -> None:
        super().__init__()
        self.embed, self.body = nn.Embedding(symbols, width // 2), nn.GRU(width // 2, width, batch_first=True)
        self.output = nn.Linear(width, symbols)

    def forward(self, text: Tensor) -> Tensor:
        return self.output(self.body(self.embed(text))[0])


class Summary(nn.Module):
    """One number of a whole sequence, by an LSTM."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.body, self.output = nn.LSTM(inputs, width, batch_first=True), nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.body(x)[0][:, -1])


class Factors(nn.Module):
    """The rating of a pair: the product of the two traits, and biases."""

    def __init__(self, users: int, items: int, rank: int) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(users, 1 + rank), nn.Embedding(items, 1 + rank)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, pairs: Tensor) -> Tensor:
        user, item = self.user(pairs[:, 0]), self.item(pairs[:, 1])
        return (user[:, 1:] * item[:, 1:]).sum(-1, keepdim=True) + user[:, :1] + item[:, :1]


def bag(words: int, width: int, topics: int) -> nn.Sequential:
    return nn.Sequential(nn.EmbeddingBag(words, width), nn.Linear(width, topics))


class VAE(nn.Module):
    """-ELBO of each image of pixels in [0, 1], in nats."""

    def __init__(self, pixels: int, width: int, codes: int) -> None:
        super().__init__()
        self.encode = mlp(pixels, width, 2 * codes)
        self.decode = mlp(codes, width, pixels)

    def forward(self, x: Tensor) -> Tensor:
        mean, log_var = self.encode(x).chunk(2, -1)
        logits = self.decode(mean + torch.randn_like(mean) * (log_var / 2).exp())
        error = F.binary_cross_entropy_with_logits(logits, x.flatten(1), reduction="none").sum(-1)
        return error + (mean**2 + log_var.exp() - 1 - log_var).sum(-1) / 2


# Losses --------------------------------------------------------------------------------------------------------------


def squares(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(model(x), y)


def classes(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x).flatten(0, -2), y.flatten())


def own(model: nn.Module, x: Tensor, _: Tensor) -> Tensor:
    return model(x).mean()


def itself(model: nn.Module, x: Tensor, _: Tensor) -> Tensor:
    return F.mse_loss(model(x), x.flatten(1))


def derivative(u: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(u.sum(), x, create_graph=True)[0]


def poisson(model: nn.Module, x: Tensor) -> Tensor:
    """u'' = -pi^2 sin(pi x) on [-1, 1], 0 at both ends."""
    with torch.enable_grad():
        x = x.clone().requires_grad_()
        residual = derivative(derivative(model(x), x), x) / torch.pi**2 + torch.sin(torch.pi * x)
    ends = model(torch.tensor([[-1.0], [1.0]]))
    return (residual**2).mean() + (ends**2).mean()


def oscillator(model: nn.Module, t: Tensor) -> Tensor:
    """u' = v, v' = -4 u - v / 2 on [0, 3], from u = 1, v = 0."""
    with torch.enable_grad():
        t = t.clone().requires_grad_()
        u, v = model(t - 1.5).unbind(-1)
        first = derivative(u, t)[:, 0] - v
        second = derivative(v, t)[:, 0] + 4 * u + v / 2
    start = model(torch.tensor([[-1.5]]))[0] - torch.tensor([1.0, 0.0])
    return (first**2).mean() + (second**2).mean() + 4 * (start**2).sum()
