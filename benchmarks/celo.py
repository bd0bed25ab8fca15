"""Celo, a published learned optimizer, by its published weights: formulas read again by code of our own.

Moudgil, Knyazev, Lajoie and Belilovsky 2025, "Celo: Training Versatile Learned Optimizers on a Compute Diet",
Transactions on Machine Learning Research (arXiv 2501.12670).  Weights: ``algoperf/submissions/celo/theta.state`` of
https://github.com/amoudgl/celo (commit 66d97611, 149,216 bytes), Copyright (c) 2025 Abhinav Moudgil, MIT License.  They
are not part of this repository: ``CELO_WEIGHTS`` names the file.

    git clone https://github.com/amoudgl/celo && export CELO_WEIGHTS=$PWD/celo/algoperf/submissions/celo/theta.state
    python benchmarks/celo.py    # whether it goes as its authors' code

A network for each coordinate says a step from 30 features; an LSTM, which knows the share of the steps that is done and
how the loss fell, says how long it is.  (Published is one for each tensor, all with the same inputs: one is enough.)
It was trained on four tasks of image classification by MLPs, for up to 2,000 steps.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

WEIGHTS = "CELO_WEIGHTS"
SHA256 = "35683c6123069c101d62ec1f8b2e6d70d50a43e67ebe09953b27620a7dcb836b"
DECAYS = (0.9, 0.99, 0.999)
"""Of the momenta, and of the factored second moments."""
SQUARE_DECAY = 0.999
STEP, MAGNITUDE, RATE = 1e-3, 1e-3, 0.1
SHARES = (0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1)
MOST = 1000.0
"""What a coordinate of the gradient is clipped at."""


# The file -------------------------------------------------------------------------------------------------------------


class MessagePack:
    """Reads what flax writes: MessagePack (msgpack.org) with arrays as extension 1: shape, name of the type, bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        found = self.data[self.at : self.at + count]
        if len(found) < count:
            raise ValueError(f"expected {count} more bytes, got {len(found)}")
        self.at += count
        return found

    def whole(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def value(self) -> Any:
        kind = self.whole(1)
        if kind < 0x80:
            return kind
        if kind < 0x90 or kind in (0xDE, 0xDF):
            count = kind & 15 if kind < 0x90 else self.whole(2 if kind == 0xDE else 4)
            return {self.value(): self.value() for _ in range(count)}
        if kind < 0xA0 or kind in (0xDC, 0xDD):
            count = kind & 15 if kind < 0xA0 else self.whole(2 if kind == 0xDC else 4)
            return [self.value() for _ in range(count)]
        if kind < 0xC0 or 0xD9 <= kind <= 0xDB:
            return self.take(kind & 31 if kind < 0xC0 else self.whole(1 << (kind - 0xD9))).decode()
        if 0xC4 <= kind <= 0xC6:
            return self.take(self.whole(1 << (kind - 0xC4)))
        if 0xCC <= kind <= 0xCF:
            return self.whole(1 << (kind - 0xCC))
        if 0xC7 <= kind <= 0xC9 or 0xD4 <= kind <= 0xD8:
            size = self.whole(1 << (kind - 0xC7)) if kind <= 0xC9 else 1 << (kind - 0xD4)
            return self.array(self.whole(1), self.take(size))
        raise ValueError(f"expected MessagePack as flax writes it, got a value of kind {kind:#x}")

    def array(self, extension: int, data: bytes) -> Tensor:
        if extension != 1:
            raise ValueError(f"expected an array, got extension {extension}")
        shape, kind, values = MessagePack(data).value()
        return torch.from_numpy(np.frombuffer(values, kind).reshape(shape).copy())


def read_weights(path: str | Path) -> dict[str, Any]:
    """The published weights, as nested dicts of tensors.

    :raises ValueError: if the file is another one.
    """
    data = Path(path).expanduser().read_bytes()
    if (found := hashlib.sha256(data).hexdigest()) != SHA256:
        raise ValueError(f"{path}: expected Celo's theta.state with SHA-256 {SHA256}, got {found}")
    weights: dict[str, Any] = MessagePack(data).value()
    return weights


def lacks_weights() -> str:
    """Why it cannot run; empty where it can."""
    path = os.environ.get(WEIGHTS)
    if not path or not Path(path).expanduser().is_file():
        return f"{WEIGHTS} names no file: see benchmarks/celo.py"
    return ""


# The formulas ---------------------------------------------------------------------------------------------------------


class LossMemory:
    """Ten running means of the loss, with half lives from 10 steps to ``num_steps``: what the scheduler sees of it."""

    def __init__(self, num_steps: int) -> None:
        self.decays = torch.exp(-1 / torch.logspace(1, float(np.log10(num_steps)), 10))
        self.means = torch.zeros(10)
        self.least = torch.full((10,), 1e12)
        self.made = 0

    def take_in(self, loss: Tensor) -> Tensor:
        """The signals ``(9,)`` with ``loss ()`` among them; one above twice the largest mean counts as that."""
        unbias = 1 - self.decays ** (self.made + 1)
        largest = (self.means / unbias).max() if self.made else loss
        loss = torch.minimum(2 * largest.abs(), loss)
        self.means = self.means * self.decays + loss * (1 - self.decays)
        means = self.means / unbias
        self.least = torch.minimum(self.least, means)
        self.made += 1
        if self.made <= 2:
            return torch.zeros(9)
        # each is compared with the next slower, as it was trained
        above = (means[:-1] - self.least[:-1]) / (means[1:] - self.least[:-1]).clamp_min(1e-8)
        return (above - 1).clamp(-1, 1)


class Scheduler:
    """Says how long the steps are.  Its inputs are the same for each tensor, and so is what it says."""

    def __init__(self, weights: dict[str, Any], num_steps: int) -> None:
        self.layers, self.num_steps = weights["rnn_params"], num_steps
        self.hidden, self.cell = (weights["lstm_init_state"][name][0] for name in ("hidden", "cell"))
        self.losses = LossMemory(num_steps)

    def linear(self, layer: str, inputs: Tensor) -> Tensor:
        found: Tensor = inputs @ self.layers[layer]["w"] + self.layers[layer]["b"]
        return found

    def factor(self, loss: Tensor) -> Tensor:
        """Of the next step, ``()``."""
        share = self.losses.made / self.num_steps
        signals = torch.cat([torch.tanh(10 * (share - torch.tensor(SHARES))), self.losses.take_in(loss)])
        mixed = self.linear("linear_2", signals) + self.linear("linear_1", signals).relu()
        gates = self.linear("rnn/linear", torch.cat([mixed, self.hidden]))
        enter, candidate, forget, leave = gates.chunk(4)
        self.cell = (forget + 1).sigmoid() * self.cell + enter.sigmoid() * candidate.tanh()
        self.hidden = leave.sigmoid() * self.cell.tanh()
        return RATE * self.linear("step_size", self.hidden).exp().squeeze(-1)


def factored(shape: Sequence[int]) -> tuple[int, int] | None:
    """The axes of the second largest and the largest size; None of a vector.

    Equal sizes are in the order of JAX's axes, which are the reverse of torch's.
    """
    if len(shape) < 2:
        return None
    last = len(shape) - 1
    order = np.argsort(list(reversed(shape)), kind="stable")
    return last - int(order[-2]), last - int(order[-1])


def bounded_rsqrt(x: Tensor) -> Tensor:
    return x.clamp_min(1e-9).rsqrt()


class TensorMemory:
    """Of one tensor: three momenta, a second moment, and three second moments that are factored as Adafactor's."""

    def __init__(self, theta: Tensor) -> None:
        self.momenta = theta.new_zeros(*theta.shape, len(DECAYS))
        self.square = torch.zeros_like(theta)
        self.decays = theta.new_tensor(DECAYS)
        self.axes = factored(theta.shape)
        self.rows: Tensor | float = 0.0
        self.columns: Tensor | float = 0.0

    def features(self, theta: Tensor, grad: Tensor) -> Iterator[Tensor]:
        """The fourteen inputs of the network, each ``(*shape, 1)`` or ``(*shape, 3)``."""
        g = grad.unsqueeze(-1)
        self.momenta = self.momenta * self.decays + g * (1 - self.decays)
        self.square = SQUARE_DECAY * self.square + (1 - SQUARE_DECAY) * grad.square()
        square = self.square.unsqueeze(-1)
        root = (square + 1e-6).rsqrt()
        squares = g.square() + 1e-30
        if self.axes is None:
            self.rows = self.columns = self.rows * self.decays + squares * (1 - self.decays)
            scale, of_momenta = bounded_rsqrt(self.rows + 1e-9), self.rows**-0.5
        else:
            second, first = self.axes
            self.rows = self.rows * self.decays + squares.mean(first, keepdim=True) * (1 - self.decays)
            self.columns = self.columns * self.decays + squares.mean(second, keepdim=True) * (1 - self.decays)
            whole = self.rows.mean(second, keepdim=True)
            scale = of_momenta = bounded_rsqrt(self.rows / (whole + 1e-9)) * bounded_rsqrt(self.columns)
        rows, columns = (part.expand_as(self.momenta) for part in (self.rows, self.columns))
        yield from (g, g.clamp(-0.1, 0.1), theta.unsqueeze(-1), self.momenta, square, self.momenta * root, root)
        yield from (g * scale, g * root, rows, columns, (rows + 1e-8).rsqrt(), (columns + 1e-8).rsqrt())
        yield self.momenta * of_momenta


def as_tensor(number: Tensor) -> Tensor:
    """A number as a vector of one; else as it is."""
    return number if number.ndim else number.reshape(1)


class Celo:
    """Optimizes ``params``: ``step(loss)`` after each backward pass.

    :param num_steps: how many steps there will be.
    :param weights: from ``read_weights``.
    """

    def __init__(self, params: Sequence[nn.Parameter], num_steps: int, weights: dict[str, Any]) -> None:
        self.params = list(params)
        self.scheduler = Scheduler(weights, num_steps)
        self.network = {name: tensor[0] for name, tensor in weights["ff_mod_stack"]["~"].items()}
        self.first = torch.cat([self.network[f"w0__{place}"] for place in range(14)])
        self.memories = [TensorMemory(as_tensor(param.detach())) for param in self.params]

    @torch.no_grad()
    def step(self, loss: Tensor) -> None:
        factor = self.scheduler.factor(loss.detach().cpu().float())
        for param, memory in zip(self.params, self.memories, strict=True):
            grad = torch.zeros_like(param) if param.grad is None else param.grad.clamp(-MOST, MOST)
            param -= factor * self.direction(as_tensor(param), as_tensor(grad), memory).reshape(param.shape)

    def direction(self, theta: Tensor, grad: Tensor, memory: TensorMemory) -> Tensor:
        """The network's step before the scheduler's factor."""
        axes = tuple(range(theta.ndim))
        inputs = [x * (1e-5 + x.square().mean(axes, keepdim=True)).rsqrt() for x in memory.features(theta, grad)]
        hidden = (torch.cat(inputs, -1) @ self.first + self.network["b0"]).relu()
        hidden = (hidden @ self.network["w1"] + self.network["b1"]).relu()
        out = hidden @ self.network["w2"] + self.network["b2"]
        size = (theta.square().mean() + 1e-9).sqrt()
        return STEP * size * out[..., 0] * (MAGNITUDE * out[..., 1]).exp()


# A check --------------------------------------------------------------------------------------------------------------

SHAPES = ((5, 3), (3,), (4, 4), (3, 3, 2, 4), ())
"""In the order of JAX's axes."""
AFTER = (
    (-2.140033945, 9.558603522),
    (0.492418915, 1.629225508),
    (-3.210982375, 10.763202198),
    (-2.212849392, 41.718910397),
    (0.927910268, 0.861017466),
)
"""Sum and sum of squares of each tensor after the 20 steps of ``check``, by its authors' code on JAX."""


def wave(shape: tuple[int, ...], phase: float) -> Tensor:
    count = np.arange(1, 1 + int(np.prod(shape)))
    return torch.from_numpy(np.sin(count**2 + phase).reshape(shape).T.astype(np.float32))


def check(weights: dict[str, Any]) -> float:
    """The largest difference from ``AFTER`` on five tensors, with gradients and losses from a formula."""
    params = [nn.Parameter(wave(shape, 0.0)) for shape in SHAPES]
    optimizer = Celo(params, 20, weights)
    for t in range(20):
        for param, shape in zip(params, SHAPES, strict=True):
            param.grad = 10.0 ** (t % 4 - 2) * wave(shape, 1.0 + t)
        optimizer.step(torch.tensor(3 * np.exp(-t / 8) + 0.2 * np.sin(t**2)))
    found = [(float(p.double().sum()), float(p.double().square().sum())) for p in map(torch.detach, params)]
    return max(abs(a - b) for one, other in zip(found, AFTER, strict=True) for a, b in zip(one, other, strict=True))


if __name__ == "__main__":
    if reason := lacks_weights():
        raise SystemExit(reason)
    difference = check(read_weights(os.environ[WEIGHTS]))
    print(f"largest difference from its authors' code: {difference:.1g}")
    raise SystemExit(difference > 1e-4)
