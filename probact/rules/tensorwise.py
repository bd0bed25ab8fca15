"""A learned optimizer for minibatches that knows its horizon: a small network a tensor says how far to go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from probact.rules.base import RULES, SMALL, Step, UpdateRule
from probact.rules.orthogonal import matrix_shape, orthogonalised
from probact.rules.plan import Plan
from probact.support.refusals import check_range
from probact.support.trees import Params, State, flatten, unflatten

FAST, SLOW, SQUARE = 0.9, 0.98, 0.99
"""Decays of the running means of the gradient, and of its square."""
STARTS = {"adam": 0.02, "slow adam": 0.005, "normalised gradient": 0.002, "orthogonal": 0.02}
"""The directions, and how far it goes along each before training, in root mean squares of the tensor."""
LEAST_SIZE = 0.1
"""The least root mean square that a tensor counts with, as a share of that of all: biases begin at 0."""
LONGEST = 0.3
"""The longest step of a tensor, in its lengths."""
LOG_RANGE = 5.0
"""How far, in nats, a rate gets from ``STARTS``."""
NUM_SIGNALS = 23


class TensorwiseMemory(NamedTuple):
    """What the rule remembers of M tensors with d coordinates in all, without graph: 3 numbers a coordinate.

    :ivar fast, slow, square: running means of g and g^2, ``(L, d)``.
    :ivar first_size, size, last_step, grad_size: of each tensor, ``(L, M)``: its first root mean square and the last,
        that of the last step over it, and the running mean of log |g|.
    :ivar means: fast and slow running mean of the loss, its jitter about them, and the first loss, ``(L, 4)``.
    :ivar num_seen: gradients seen, ``(L,)``.
    :ivar plan: what it has been told.
    """

    fast: Tensor
    slow: Tensor
    square: Tensor
    first_size: Tensor
    size: Tensor
    last_step: Tensor
    grad_size: Tensor
    means: Tensor
    num_seen: Tensor
    plan: Plan


@RULES.register("tensorwise")
class Tensorwise(UpdateRule):
    """Learned steps along momenta: a network a tensor, told how many steps there are.

    With m, n the running means of g with decays .9 and .98, v that of g^2 with .99, each without bias, and r the root
    mean square of the tensor::

        update = -factor r (w_1 m / sqrt(v) + w_2 n / sqrt(v) + w_3 g / sqrt(v) + w_4 orthogonal(m))

    Orthogonal(m) has all its singular values made about equal by five steps of Newton and Schulz (Jordan et al. 2024),
    or is m, if it is no matrix, and a root mean square of 1.  The network says log w, a linear function of the signals
    and a hidden layer.  Signals are cosines and log ratios of lengths, the fall of the loss in units of its jitter, the
    tensor's shape and size, and how many steps there are, if that is told; the factor then falls on a line to 0
    (``Plan``).  Nothing depends on the scale of the loss, nor on a constant in it.  All tensors share its weights (the
    Tensor RNN of Wichrowska et al. 2017, without memory of its own).  It is for noisy gradients.

    Features for halting: the mean of the signals over the tensors, F = ``NUM_SIGNALS``.
    """

    num_features = NUM_SIGNALS

    def __init__(self, hidden_size: int = 16) -> None:
        super().__init__()
        check_range(self.label, at_least=1, below=10_000, hidden_size=hidden_size)
        self.hidden = nn.Linear(NUM_SIGNALS, hidden_size)
        self.output = nn.Linear(NUM_SIGNALS + hidden_size, len(STARTS))
        with torch.no_grad():
            self.output.weight[:, :NUM_SIGNALS] = 0
            self.output.weight[:, NUM_SIGNALS:] *= 0.01  # so small that it begins with the rates named, and learns
            self.output.weight[:, NUM_SIGNALS - 1] = -0.5 * math.log(1000)  # 1 / sqrt(T), and 1 at T = 200
            self.output.bias.fill_(0.5 * math.log(200))

    def init(self, params: Params) -> State:
        flat = flatten(params)
        of_tensor = flat.new_zeros(len(flat), len(params))
        zero = torch.zeros_like(flat)
        return TensorwiseMemory(
            fast=zero,
            slow=zero,
            square=zero,
            first_size=of_tensor,
            size=of_tensor,
            last_step=of_tensor,
            grad_size=of_tensor,
            means=flat.new_zeros(len(flat), 4),
            num_seen=flat.new_zeros(len(flat)),
            plan=Plan.unknown(flat),
        )

    @property
    def plans(self) -> bool:
        return True

    def told(self, state: State, plan: Plan) -> State:
        return state._replace(plan=plan)

    def after_foreign_step(self, state: State, update: Params) -> State:
        made = [part.detach().flatten(1).square().mean(-1).sqrt() for part in update.values()]
        return state._replace(last_step=torch.stack(made, -1) / state.size)

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        shapes = [tensor.shape[1:] for tensor in grads.values()]
        split = [shape.numel() for shape in shapes]
        with torch.no_grad():
            directions, size, memory, signals = _take_in(state, flatten(grads), flatten(params), loss, shapes)
        said = self.output(torch.cat([signals, torch.tanh(self.hidden(signals))], -1))
        said = LOG_RANGE * torch.tanh(said / LOG_RANGE)
        rate = (
            -(state.plan.factor.unsqueeze(-1) * size).unsqueeze(-1) * said.exp() * said.new_tensor([*STARTS.values()])
        )
        updates = [(rate[:, k, None] @ part).squeeze(1) for k, part in enumerate(directions.split(split, -1))]
        with torch.no_grad():
            lengths = torch.stack([update.square().mean(-1).sqrt() for update in updates], -1) / size
            shorter = (LONGEST / lengths.clamp_min(SMALL)).clamp_max(1.0)
        update = torch.cat([update * shorter[:, k, None] for k, update in enumerate(updates)], 1)
        memory = memory._replace(last_step=lengths * shorter)
        return Step(unflatten(update, params), memory, signals.mean(1))


def _take_in(
    state: TensorwiseMemory, grad: Tensor, flat: Tensor, loss: Tensor, shapes: Sequence[torch.Size]
) -> tuple[Tensor, Tensor, TensorwiseMemory, Tensor]:
    """``STARTS``' directions ``(L, 4, d)``, root mean squares ``(L, M)``, the memory, the signals ``(L, M, S)``."""
    split = [shape.numel() for shape in shapes]
    count = state.num_seen + 1
    of_count = count.unsqueeze(-1)
    fast, slow = state.fast.lerp(grad, 1 - FAST), state.slow.lerp(grad, 1 - SLOW)
    square = state.square.lerp(grad.square(), 1 - SQUARE)
    m, n = fast / (1 - FAST**of_count), slow / (1 - SLOW**of_count)
    root = (square / (1 - SQUARE**of_count)).sqrt().clamp_min(SMALL**0.5)
    adam, slow_adam = m / root, n / root
    directions = torch.stack([adam, slow_adam, grad / root, _orthogonal(m.split(split, -1), shapes)], 1)
    pairs = (
        (flat, flat), (grad, grad), (m, m), (n, n), (adam, adam), (slow_adam, slow_adam),
        (grad, state.fast), (grad, state.slow), (m, n), (state.fast, state.fast), (state.slow, state.slow),
    )  # fmt: skip
    products = torch.stack([a * b for a, b in pairs], 1).split(split, -1)
    means_of = torch.stack([part.mean(-1) for part in products], -1)  # (L, 11, M)
    numel = flat.new_tensor(split)
    whole = (means_of[:, 0] * numel).sum(-1, keepdim=True).div(numel.sum()).sqrt()
    size = torch.maximum(means_of[:, 0].sqrt(), LEAST_SIZE * torch.where(whole > 0, whole, 1.0))
    log_grad = 0.5 * torch.log(means_of[:, 1] + SMALL)
    first = of_count == 1
    memory = TensorwiseMemory(
        fast=fast,
        slow=slow,
        square=square,
        first_size=torch.where(first, size, state.first_size),
        size=size,
        last_step=state.last_step,
        grad_size=torch.where(first, log_grad, state.grad_size.lerp(log_grad, 0.1)),
        means=_means(state.means, loss, count),
        num_seen=count,
        plan=state.plan,
    )
    of_tensors = _of_tensors(means_of, size, log_grad, memory, numel, shapes)
    of_problems = torch.cat([_of_loss(memory.means, count), state.plan.signals(count)], -1)
    signals = torch.cat([of_tensors, of_problems.unsqueeze(1).expand(-1, len(shapes), -1)], -1)
    return directions, size, memory, signals


def _of_tensors(
    means: Tensor, size: Tensor, log_grad: Tensor, memory: TensorwiseMemory, numel: Tensor, shapes: Sequence[torch.Size]
) -> Tensor:
    """Signals of each tensor, ``(L, M, 15)``, from mean products ``(L, 11, M)``."""
    _, gg, mm, nn_, aa, ss, gf, gs, mn, ff, sl = means.unbind(1)
    whole = (gg * numel).sum(-1, keepdim=True) / numel.sum()
    ranks = size.new_tensor([float(len(shape) > 1) for shape in shapes])
    aspects = size.new_tensor([_log_aspect(shape) for shape in shapes])
    return torch.stack(
        [
            gf / (gg * ff).sqrt().clamp_min(SMALL),
            gs / (gg * sl).sqrt().clamp_min(SMALL),
            mn / (mm * nn_).sqrt().clamp_min(SMALL),
            torch.log((mm + SMALL) / (gg + SMALL)).clamp(-8, 8) / 4,
            torch.log((nn_ + SMALL) / (gg + SMALL)).clamp(-8, 8) / 4,
            torch.log(aa + 1e-6) / 4,
            torch.log(ss + 1e-6) / 4,
            torch.log(size).clamp(-12, 5) / 4,
            torch.log(size / memory.first_size) / 2,
            (log_grad - memory.grad_size).clamp(-5, 5) / 2,
            torch.log(memory.last_step + 1e-6) / 5,
            torch.log((gg + SMALL) / (whole + SMALL)).clamp(-10, 10) / 5,
            (numel.log() / 10).expand_as(size),
            ranks.expand_as(size),
            aspects.expand_as(size),
        ],
        -1,
    )


def _orthogonal(parts: Sequence[Tensor], shapes: Sequence[torch.Size]) -> Tensor:
    """Each tensor, ``(L, d_m)``, with its singular values made about equal and a root mean square of 1: ``(L, d)``.

    Tensors of one shape are done at once.
    """
    places: dict[tuple[int, int], list[int]] = {}
    out = list(parts)
    for k, shape in enumerate(shapes):
        if matrix := matrix_shape(shape):
            places.setdefault(matrix, []).append(k)
    for matrix, group in places.items():
        x = orthogonalised(torch.stack([parts[k] for k in group], 1).unflatten(-1, matrix))  # (L, group, rows, columns)
        for place, k in enumerate(group):
            out[k] = x[:, place].flatten(1)
    return torch.cat([part / part.square().mean(-1, keepdim=True).sqrt().clamp_min(SMALL**0.5) for part in out], 1)


def _means(before: Tensor, loss: Tensor, count: Tensor) -> Tensor:
    """Fast and slow mean of the loss, its jitter, the first loss: ``(L, 4)`` with ``loss (L,)`` taken in."""
    fast, slow, jitter, first = before.unbind(-1)
    begins = count == 1
    jump = (loss - fast).abs()
    jitter = torch.where(begins, 0.0, torch.where(count == 2, jump, jitter.lerp(jump, 0.1)))
    means = [fast.lerp(loss, 0.2), slow.lerp(loss, 0.03)]
    return torch.stack(
        [*(torch.where(begins, loss, mean) for mean in means), jitter, torch.where(begins, loss, first)], -1
    )


def _of_loss(means: Tensor, count: Tensor) -> Tensor:
    """Signals of the loss, ``(L, 5)``: none depends on its scale or on a constant in it."""
    fast, slow, jitter, first = means.unbind(-1)
    grain = jitter + 1e-3 * (first - fast).abs() + SMALL
    return torch.stack(
        [
            ((slow - fast) / grain).clamp(-5, 5) / 2,
            torch.log(((first - fast) / grain).clamp_min(0) + 0.1) / 3,
            ((fast - first) / grain).clamp(0, 10) / 5,
            torch.log(jitter / ((first - fast).abs() + jitter + SMALL) + 1e-3) / 3,
            count.log() / math.log(1000),
        ],
        -1,
    )


def _log_aspect(shape: torch.Size) -> float:
    if len(shape) < 2:
        return 0.0
    return math.log(max(shape[0], 1) ** 2 / max(shape.numel(), 1)) / 3
