"""A learned optimizer for minibatches that knows its horizon: a small network a tensor says how far to go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from probact.rules.base import RULES, SMALL, Planned, Step
from probact.rules.matrices import balanced, has_orthogonal, is_matrix, orthogonal, sides
from probact.rules.plan import Plan
from probact.support.refusals import check_range
from probact.support.trees import Params, State

FAST, SLOW, SQUARE = 0.9, 0.98, 0.99
"""Decays of the running means of the gradient, and of its square."""
STARTS = {"adam": 0.02, "slow adam": 0.005, "normalised gradient": 0.002, "balanced": 0.005, "orthogonal": 0.015}
"""The directions, and how far it goes along each before training, in root mean squares of the tensor."""
LEAST_SIZE = 0.1
"""The least root mean square that a tensor counts with, as a share of that of all: biases begin at 0."""
LONGEST = 0.3
"""The longest step of a tensor, in its lengths."""
LOG_RANGE, DRIFT = 5.0, (0.2, 20.0)
"""How far, in nats, a rate gets from ``STARTS``; and how far those of a tensor drift in a step, and in all steps."""
SAMPLE = 4096
"""Mean products of a tensor with more coordinates are those of about so many, evenly spread over it."""
NUM_SIGNALS = 24


Tensors = tuple[Tensor, ...]


class TensorwiseMemory(NamedTuple):
    """What the rule remembers of M tensors with d coordinates in all: 3 numbers a coordinate.

    :ivar fast, slow, square: running means of g and g^2, M times ``(L, d_m)``.
    :ivar first_size, size, last_step, grad_size: of each tensor, ``(L, M)``: its first root mean square and the last,
        that of the last step over it, and the running mean of log |g|.
    :ivar drift: how far, in nats, the rates of each tensor have drifted, ``(L, M)``; it alone is in the graph.
    :ivar means: fast and slow running mean of the loss, its jitter about them, and the first loss, ``(L, 4)``.
    :ivar num_seen: gradients seen, ``(L,)``.
    :ivar plan: what it has been told.
    """

    fast: Tensors
    slow: Tensors
    square: Tensors
    first_size: Tensor
    size: Tensor
    last_step: Tensor
    grad_size: Tensor
    drift: Tensor
    means: Tensor
    num_seen: Tensor
    plan: Plan


@RULES.register("tensorwise")
class Tensorwise(Planned):
    """Learned steps along momenta: a network a tensor, told how many steps there are.

    With m, n the running means of g with decays .9 and .98, v that of g^2 with .99, each without bias, and r the root
    mean square of the tensor::

        update = -factor r (w_1 m / sqrt(v) + w_2 n / sqrt(v) + w_3 g / sqrt(v) + w_4 balanced(m) + w_5 orthogonal(m))

    ``matrices.balanced`` and, for matrices that are not too wide, ``matrices.orthogonal`` make rows and columns, or
    singular values, about equally large.  The network says log w, and how far all of it drifts from this step on for
    good: a linear function of the signals and of a hidden layer.  Signals are cosines and log ratios of lengths, the
    fall of the loss in units of its jitter, the tensor's shape and size, and how many steps there are, if that is told;
    the factor then falls on a line to 0 (``Plan``).  Nothing depends on the scale of the loss, nor on a constant in it.
    All tensors share its weights (the Tensor RNN of Wichrowska et al. 2017, with the drift as its memory).  It is for
    noisy gradients.

    Features for halting: the mean of the signals over the tensors, F = ``NUM_SIGNALS``.
    """

    num_features = NUM_SIGNALS
    is_one_graph = True

    def __init__(self, hidden_size: int = 16) -> None:
        super().__init__()
        check_range(self.label, at_least=1, below=10_000, hidden_size=hidden_size)
        self.hidden = nn.Linear(NUM_SIGNALS, hidden_size)
        self.output = nn.Linear(NUM_SIGNALS + hidden_size, len(STARTS) + 1)
        with torch.no_grad():
            self.output.weight[:, :NUM_SIGNALS] = 0
            self.output.weight[:, NUM_SIGNALS:] *= 0.01  # so small that it begins with the rates named, and learns
            self.output.weight[:-1, NUM_SIGNALS - 1] = -0.5 * math.log(1000)  # 1 / sqrt(T), and 1 at T = 200
            self.output.bias[:-1] = 0.5 * math.log(200)
            self.output.bias[-1] = 0

    def init(self, params: Params) -> State:
        zero = tuple(torch.zeros_like(tensor.flatten(1)) for tensor in params.values())
        of_tensor = zero[0].new_zeros(len(zero[0]), len(zero))
        return TensorwiseMemory(
            fast=zero,
            slow=zero,
            square=zero,
            first_size=of_tensor,
            size=of_tensor,
            last_step=of_tensor,
            grad_size=of_tensor,
            drift=of_tensor,
            means=zero[0].new_zeros(len(zero[0]), 4),
            num_seen=zero[0].new_zeros(len(zero[0])),
            plan=Plan.unknown(zero[0]),
        )

    def after_foreign_step(self, state: State, update: Params) -> State:
        made = [part.detach().flatten(1).square().mean(-1).sqrt() for part in update.values()]
        return state._replace(last_step=torch.stack(made, -1) / state.size)

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        gradients = [grad.flatten(1) for grad in grads.values()]
        with torch.no_grad():
            memory, roots = _averaged(state, gradients)
            shapes = [tensor.shape[1:] for tensor in grads.values()]
            shaped = balanced(memory.fast, shapes), orthogonal(memory.fast, shapes)
            thetas = [tensor.flatten(1) for tensor in params.values()]
            means = _mean_products(gradients, memory, thetas, roots, shaped, shapes)
            memory, signals = _taken_in(memory, means, loss, shapes)
        said = self.output(torch.cat([signals, torch.tanh(self.hidden(signals))], -1))
        furthest = (DRIFT[1] / state.plan.expected(memory.num_seen)).clamp_max(DRIFT[0]).unsqueeze(-1)
        drift = (state.drift + furthest * torch.tanh(said[..., -1])).clamp(-LOG_RANGE, LOG_RANGE)
        said = LOG_RANGE * torch.tanh((said[..., :-1] + drift.unsqueeze(-1)) / LOG_RANGE)
        rate = state.plan.factor[:, None, None] * said.exp() * said.new_tensor([*STARTS.values()])  # (L, M, 5)
        with torch.no_grad():
            products = means[..., -len(STARTS) :, -len(STARTS) :]
            length = (rate.unsqueeze(-2) @ products @ rate.unsqueeze(-1)).flatten(2).squeeze(-1).clamp_min(0).sqrt()
            shorter = (LONGEST / length.clamp_min(SMALL)).clamp_max(1.0)
        rate = rate * (-shorter * memory.size).unsqueeze(-1)
        update = {}
        for k, (name, tensor) in enumerate(params.items()):
            momenta = memory.fast[k], memory.slow[k], gradients[k]
            made = _along(rate[:, k], _biases(memory), momenta, roots[k], [part[k] for part in shaped if k in part])
            update[name] = made.view_as(tensor)
        return Step(update, memory._replace(last_step=length * shorter, drift=drift), signals.mean(1))


def _averaged(state: TensorwiseMemory, grads: Sequence[Tensor]) -> tuple[TensorwiseMemory, list[Tensor]]:
    """The memory with the gradients ``(L, d_m)`` in its running means, and sqrt(v) without bias."""
    memory = state._replace(
        fast=tuple(mean.lerp(grad, 1 - FAST) for mean, grad in zip(state.fast, grads, strict=True)),
        slow=tuple(mean.lerp(grad, 1 - SLOW) for mean, grad in zip(state.slow, grads, strict=True)),
        square=tuple(mean.lerp(grad.square(), 1 - SQUARE) for mean, grad in zip(state.square, grads, strict=True)),
        num_seen=state.num_seen + 1,
    )
    unbiased = (1 - SQUARE**memory.num_seen).rsqrt().unsqueeze(-1)
    return memory, [(square.sqrt() * unbiased).clamp_min(SMALL**0.5) for square in memory.square]


def _biases(memory: TensorwiseMemory) -> tuple[Tensor, Tensor, Tensor]:
    """What the running means of g, and g itself, are to be divided by; ``(L,)`` each."""
    fast, slow = (1 - decay**memory.num_seen for decay in (FAST, SLOW))
    return fast, slow, torch.ones_like(fast)


def _along(
    rate: Tensor, biases: Sequence[Tensor], momenta: Sequence[Tensor], root: Tensor, shaped: Sequence[Tensor]
) -> Tensor:
    """A tensor's directions times ``rate (L, 5)``, ``(L, d_m)``; those of ``shaped`` may be less than two."""
    weights = [(rate[:, k] / bias).unsqueeze(-1) for k, bias in enumerate(biases)]
    first, *others = momenta
    made = weights[0] * first
    for weight, momentum in zip(weights[1:], others, strict=True):
        made = torch.addcmul(made, weight, momentum)
    made = made / root
    for k, part in enumerate(shaped, len(momenta)):
        made = torch.addcmul(made, rate[:, k, None], part)
    return made


def _mean_products(
    grads: Sequence[Tensor],
    memory: TensorwiseMemory,
    thetas: Sequence[Tensor],
    roots: Sequence[Tensor],
    shaped: Sequence[Mapping[int, Tensor]],
    shapes: Sequence[torch.Size],
) -> Tensor:
    """Of g, the running means with this g, theta, and ``STARTS``' directions of each tensor: ``(L, M, 9, 9)``."""
    biases = [bias.unsqueeze(-1) for bias in _biases(memory)]
    found = []
    for k, shape in enumerate(shapes):
        every = _stride(shape)
        grad, fast, slow, theta, root = (
            part[:, ::every] for part in (grads[k], memory.fast[k], memory.slow[k], thetas[k], roots[k])
        )
        adaptive = [part / bias / root for part, bias in zip((fast, slow, grad), biases, strict=True)]
        others = [part[k][:, ::every] if k in part else torch.zeros_like(grad) for part in shaped]
        rows = torch.stack([grad, fast, slow, theta, *adaptive, *others], 1)
        found.append(rows @ rows.mT / rows.shape[-1])
    return torch.stack(found, 1)


def _stride(shape: torch.Size) -> int:
    """Takes about ``SAMPLE`` coordinates of a tensor, from all its columns alike."""
    columns = sides(shape)[1]
    stride = max(shape.numel() // SAMPLE, 1)
    while math.gcd(stride, max(columns, 1)) > 1:
        stride += 1
    return stride


def _taken_in(
    memory: TensorwiseMemory, means: Tensor, loss: Tensor, shapes: Sequence[torch.Size]
) -> tuple[TensorwiseMemory, Tensor]:
    """The memory with mean products and loss taken in, and the signals ``(L, M, S)``."""
    count = memory.num_seen
    first = count.unsqueeze(-1) == 1
    numel = means.new_tensor([float(shape.numel()) for shape in shapes])
    sizes = means[..., 3, 3]
    whole = (sizes * numel).sum(-1, keepdim=True).div(numel.sum()).sqrt()
    size = torch.maximum(sizes.sqrt(), LEAST_SIZE * torch.where(whole > 0, whole, 1.0))
    log_grad = 0.5 * torch.log(means[..., 0, 0] + SMALL)
    memory = memory._replace(
        first_size=torch.where(first, size, memory.first_size),
        size=size,
        grad_size=torch.where(first, log_grad, memory.grad_size.lerp(log_grad, 0.1)),
        means=_means(memory.means, loss, count),
    )
    of_tensors = _of_tensors(means, log_grad, memory, numel, shapes)
    of_problems = torch.cat([_of_loss(memory.means, count), memory.plan.signals(count)], -1)
    return memory, torch.cat([of_tensors, of_problems.unsqueeze(1).expand(-1, len(shapes), -1)], -1)


def _of_tensors(
    means: Tensor, log_grad: Tensor, memory: TensorwiseMemory, numel: Tensor, shapes: Sequence[torch.Size]
) -> Tensor:
    """Signals of each tensor, ``(L, M, 16)``, from ``_mean_products``."""
    gg, fast, slow = means[..., 0, 0], means[..., 1, 1], means[..., 2, 2]
    g_fast, g_slow, both = means[..., 0, 1], means[..., 0, 2], means[..., 1, 2]
    first = memory.num_seen.unsqueeze(-1) == 1
    of_fast, of_slow, _ = (bias.square().unsqueeze(-1) for bias in _biases(memory))
    whole = (gg * numel).sum(-1, keepdim=True) / numel.sum()
    seen = torch.stack(
        [
            torch.where(first, 0.0, _cosine_with_before(gg, fast, g_fast, FAST)),
            torch.where(first, 0.0, _cosine_with_before(gg, slow, g_slow, SLOW)),
            both / (fast * slow).sqrt().clamp_min(SMALL),
            torch.log((fast / of_fast + SMALL) / (gg + SMALL)).clamp(-8, 8) / 4,
            torch.log((slow / of_slow + SMALL) / (gg + SMALL)).clamp(-8, 8) / 4,
            torch.log(means[..., 4, 4] + 1e-6) / 4,
            torch.log(means[..., 5, 5] + 1e-6) / 4,
            torch.log(memory.size).clamp(-12, 5) / 4,
            torch.log(memory.size / memory.first_size) / 2,
            (log_grad - memory.grad_size).clamp(-5, 5) / 2,
            torch.log(memory.last_step + 1e-6) / 5,
            torch.log((gg + SMALL) / (whole + SMALL)).clamp(-10, 10) / 5,
        ],
        -1,
    )
    of_shape = gg.new_tensor([_of_shape(shape) for shape in shapes])
    return torch.cat([seen, of_shape.expand(len(gg), -1, -1)], -1)


def _cosine_with_before(gg: Tensor, mean: Tensor, g_mean: Tensor, decay: float) -> Tensor:
    """Of g and its running mean before it, from the mean products with the one after it."""
    with_before = (g_mean - (1 - decay) * gg) / decay
    before = (mean - 2 * (1 - decay) * g_mean + (1 - decay) ** 2 * gg).clamp_min(0) / decay**2
    return (with_before / (gg * before).sqrt().clamp_min(SMALL)).clamp(-1, 1)


def _of_shape(shape: torch.Size) -> list[float]:
    """Four signals of a tensor's shape: of its size, its kind, and its sides."""
    rows, columns = sides(shape)
    aspect = math.log(max(rows, 1) / max(columns, 1)) / 3 if is_matrix(shape) else 0.0
    return [math.log(max(shape.numel(), 1)) / 10, float(is_matrix(shape)), float(has_orthogonal(shape)), aspect]


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
