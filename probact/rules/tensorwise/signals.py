"""What the network of ``tensorwise`` sees: cosines and log ratios of lengths of each tensor, and how the loss falls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from probact.rules.base import SMALL, TINY
from probact.rules.matrices import Evener, has_orthogonal, is_matrix, sides
from probact.rules.tensorwise.memory import FAST, SLOW, Biases, TensorwiseMemory
from probact.rules.tensorwise.steps import Directions
from probact.support.arrays import Array, operations
from probact.support.light import lightly

LEAST_SIZE = 0.1
"""The least root mean square that a tensor counts with, as a share of that of all: biases begin at 0."""
SAMPLE = 4096
"""Mean products of a tensor with more coordinates are those of about so many, evenly spread over it."""
NUM_SIGNALS = 24
FLOORS = (SMALL, SMALL, 1e-6, 1e-6, 0.0, 0.0, 1e-6, SMALL)
FLOORS_BELOW = (SMALL, SMALL, 0.0, 0.0, 0.0, 0.0, 0.0, SMALL)
LOWEST, HIGHEST = (-8.0, -8.0, -99.0, -99.0, -12.0, -99.0, -99.0, -10.0), (8.0, 8.0, 99.0, 99.0, 5.0, 99.0, 99.0, 10.0)
SCALES = (4.0, 4.0, 4.0, 4.0, 4.0, 2.0, 5.0, 5.0)
"""Of the log ratios in ``_of_tensors``: what is added above and below, the range that counts, and the unit."""


class Layout(NamedTuple):
    """What the shapes of M tensors say, as constants.

    :ivar strides: of each tensor's sample; :ivar lengths: of the samples; :ivar places: rows and columns of theirs, or
        None where it is the whole tensor.
    :ivar numel: ``(M,)``; :ivar sampled: ``(M, 1, 1)``, ``lengths``.
    :ivar of_shapes: ``(M, 4)``, signals; :ivar bounds: ``(5, 8)``, of the log ratios of ``_of_tensors``.
    :ivar decays: ``(2,)``, of the running means of g.
    """

    strides: tuple[int, ...]
    lengths: tuple[int, ...]
    places: tuple[tuple[Tensor, Tensor] | None, ...]
    numel: Tensor
    sampled: Tensor
    of_shapes: Tensor
    bounds: Tensor
    decays: Tensor


def layout_of(shapes: tuple[torch.Size, ...], dtype: torch.dtype, device: torch.device) -> Layout:
    """Of tensors of ``shapes``; worked out once."""
    return (_layout_of if torch.compiler.is_compiling() else _kept)(shapes, dtype, device)


def _layout_of(shapes: tuple[torch.Size, ...], dtype: torch.dtype, device: torch.device) -> Layout:
    strides = tuple(stride(shape) for shape in shapes)
    lengths = tuple(-(-shape.numel() // every) for shape, every in zip(shapes, strides, strict=True))

    def constant(values: object) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device)

    def places(shape: torch.Size, every: int) -> tuple[Tensor, Tensor] | None:
        chosen, columns = torch.arange(0, shape.numel(), every, device=device), sides(shape)[1]
        return None if every == 1 else (chosen // columns, chosen % columns)

    return Layout(
        strides,
        lengths,
        tuple(places(shape, every) for shape, every in zip(shapes, strides, strict=True)),
        constant([float(shape.numel()) for shape in shapes]),
        constant(lengths)[:, None, None],
        constant([_of_shape(shape) for shape in shapes]),
        constant([FLOORS, FLOORS_BELOW, LOWEST, HIGHEST, SCALES]),
        constant([FAST, SLOW]),
    )


_kept = cache(_layout_of)


def stride(shape: torch.Size) -> int:
    """Takes about ``SAMPLE`` coordinates of a tensor, from all its columns alike."""
    columns = sides(shape)[1]
    every = max(shape.numel() // SAMPLE, 1)
    while math.gcd(every, max(columns, 1)) > 1:
        every += 1
    return every


def _of_shape(shape: torch.Size) -> list[float]:
    """Four signals of a tensor's shape: of its size, its kind, and its sides."""
    rows, columns = sides(shape)
    aspect = math.log(max(rows, 1) / max(columns, 1)) / 3 if is_matrix(shape) else 0.0
    return [math.log(max(shape.numel(), 1)) / 10, float(is_matrix(shape)), float(has_orthogonal(shape)), aspect]


def mean_products(directions: Directions, thetas: Sequence[Tensor], layout: Layout) -> Tensor:
    """Of g, the running means with this g, theta, and the directions of each tensor: ``(L, M, 9, 9)``."""
    grads, memory, biases, eveners, orthogonal = directions

    def sampled(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat([part[:, ::every] for part, every in zip(parts, layout.strides, strict=True)], 1)

    grad, fast, slow, square, theta = map(sampled, (grads, memory.fast, memory.slow, memory.square, thetas))
    root = torch.maximum(square.sqrt(), SMALL**0.5 * biases.root.unsqueeze(-1))
    others = [
        torch.cat([*map(even_sample, memory.fast, eveners, layout.places, layout.strides)], 1),
        sampled([orthogonal.get(k, part.new_zeros(()).expand_as(part)) for k, part in enumerate(grads)]),
    ]
    rows = torch.stack([grad, fast, slow, theta, fast / root, slow / root, grad / root, *others], 1)
    return products_of(rows.split(layout.lengths, -1), biases, layout)


def products_of(samples: Sequence[Tensor], biases: Biases, layout: Layout) -> Tensor:
    """``mean_products`` of what was sampled of each tensor, M times ``(L, 9, d')``."""
    products = [part @ part.mT for part in samples]
    unbiased = torch.stack([biases.root / biases.fast, biases.root / biases.slow, biases.root], -1)
    ones = unbiased.new_ones(len(unbiased), 1)
    factors = torch.cat([ones.expand(-1, 4), unbiased, ones.expand(-1, 2)], -1)
    return torch.stack(products, 1) / layout.sampled * (factors.unsqueeze(-1) * factors.unsqueeze(-2)).unsqueeze(1)


def even_sample(part: Tensor, evener: Evener, places: tuple[Tensor, Tensor] | None, every: int) -> Tensor:
    """The sample of ``part (L, d_m)`` made even."""
    if places is None:
        return evener.times(part)
    rows, columns = places
    made = part[:, ::every] * evener.rows[:, rows, 0]
    return made * evener.columns[:, 0, columns] if evener.columns.shape[-1] > 1 else made


def taken_in(
    memory: TensorwiseMemory,
    means: Tensor,
    loss: Tensor,
    biases: Biases,
    layout: Layout,
    since: Tensor | None = None,
) -> tuple[TensorwiseMemory, Tensor]:
    """The memory with mean products and loss taken in, and the signals ``(L, M, S)``.

    :param since: how many steps this look stands for, ``(L,)``; None: for one.
    """
    count = memory.num_seen
    first = count.unsqueeze(-1) == 1
    sizes = means[..., 3, 3]
    whole = ((sizes * layout.numel).sum(-1, keepdim=True) / layout.numel.sum()).sqrt()
    size = torch.maximum(sizes.sqrt(), LEAST_SIZE * torch.where(whole > 0, whole, 1.0))
    log_grad = 0.5 * torch.log(means[..., 0, 0] + SMALL)
    weight = 0.1 if since is None else (1 - 0.9**since).unsqueeze(-1)
    memory = memory._replace(
        first_size=torch.where(first, size, memory.first_size),
        size=size,
        grad_size=torch.where(first, log_grad, memory.grad_size.lerp(log_grad, weight)),
        means=lightly(loss_means, memory.means, loss, count),
    )
    of_tensors = _of_tensors(means, log_grad, memory, biases, layout)
    of_problems = torch.cat([_of_loss(memory.means, count), memory.plan.signals(count)], -1)
    return memory, torch.cat([of_tensors, of_problems.unsqueeze(1).expand(-1, len(layout.strides), -1)], -1)


def _of_tensors(means: Tensor, log_grad: Tensor, memory: TensorwiseMemory, biases: Biases, layout: Layout) -> Tensor:
    """Signals of each tensor, ``(L, M, 16)``, from ``mean_products``."""
    gg, fast, slow, _, adam, slow_adam = means.diagonal(dim1=-2, dim2=-1)[..., :6].unbind(-1)
    whole = (gg * layout.numel).sum(-1, keepdim=True) / layout.numel.sum()
    running = torch.stack([fast, slow], -1)
    with_before = cosine_with_before(gg.unsqueeze(-1), running, means[..., 0, 1:3], layout.decays)
    first = (memory.num_seen == 1)[:, None, None]
    both = means[..., 1, 2] / (fast.sqrt() * slow.sqrt()).clamp_min(SMALL)
    of_means = torch.stack([biases.fast, biases.slow], -1).square().unsqueeze(1)
    ones = torch.ones_like(gg)
    above, below, lowest, highest, scales = layout.bounds.unbind()
    over = torch.stack([gg, gg, ones, ones, ones, memory.first_size, ones, whole.expand_as(gg)], -1)
    size, last = memory.size, memory.last_step
    seen = torch.cat([running / of_means, torch.stack([adam, slow_adam, size, size, last, gg], -1)], -1)
    logs = ((seen + above) / (over + below)).log().clamp(lowest, highest) / scales
    jump = (log_grad - memory.grad_size).clamp(-5, 5) / 2
    return torch.cat(
        [
            torch.where(first, 0.0, with_before),
            both.unsqueeze(-1),
            logs[..., :6],
            jump.unsqueeze(-1),
            logs[..., 6:],
            layout.of_shapes.expand(len(gg), -1, -1),
        ],
        -1,
    )


def cosine_with_before(gg: Tensor, mean: Tensor, g_mean: Tensor, decay: float | Tensor) -> Tensor:
    """Of g and its running mean before it, from the mean products with the one after it."""
    with_before = (g_mean - (1 - decay) * gg) / decay
    before = (mean - 2 * (1 - decay) * g_mean + (1 - decay) ** 2 * gg).clamp_min(0) / decay**2
    return (with_before / (gg.sqrt() * before.sqrt()).clamp_min(SMALL)).clamp(-1, 1)


def loss_means(before: Array, loss: Array, count: Array) -> Array:
    """Fast and slow mean of the loss, its jitter, the first loss: ``(L, 4)`` with ``loss (L,)`` taken in."""
    do = operations(before)
    fast, slow, jitter, first = do.columns(before)
    begins = count == 1
    jump = abs(loss - fast)
    jitter = do.where(begins, 0.0, do.where(count == 2, jump, jitter + 0.1 * (jump - jitter)))
    means = [fast + 0.2 * (loss - fast), slow + 0.03 * (loss - slow)]
    means = [do.where(begins, loss, mean) for mean in means]
    return do.stack([*means, jitter, do.where(begins, loss, first)], -1)


def _of_loss(means: Tensor, count: Tensor) -> Tensor:
    """Signals of the loss, ``(L, 5)``: none depends on its scale or on a constant in it."""
    fast, slow, jitter, first = means.unbind(-1)
    fall = first - fast
    grain = jitter + 1e-3 * fall.abs() + TINY
    in_grains = fall / grain
    return torch.stack(
        [
            ((slow - fast) / grain).clamp(-5, 5) / 2,
            torch.log(in_grains.clamp_min(0) + 0.1) / 3,
            (-in_grains).clamp(0, 10) / 5,
            torch.log(jitter / (fall.abs() + jitter + TINY) + 1e-3) / 3,
            count.log() / math.log(1000),
        ],
        -1,
    )
