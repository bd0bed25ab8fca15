"""Large tensors of one problem, worked on block of rows by block, so that what is made of a block stays in a cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from probact.rules.matrices import Evener, is_matrix, shortened, sides
from probact.rules.tensorwise.memory import FAST, SLOW, SQUARE, TensorwiseMemory
from probact.rules.tensorwise.signals import Layout, even_sample
from probact.support.adam import adam_, has_adam
from probact.support.room import BLOCK, Room, in_blocks


def _blocks(size: tuple[int, int], *parts: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """``parts``, tensors of one ``size`` or with a number a row, so many rows at once."""
    several = max(BLOCK // size[1], 1) if in_blocks(parts[0]) else size[0]
    return zip(*(part.split(several) for part in parts), strict=True)


def take_in_and_even(memory: TensorwiseMemory, k: int, grad: Tensor, shape: torch.Size, room: Room) -> Evener:
    """The gradient ``(1, d)`` of the tensor at place ``k`` into its running means of g, and ``Evener.of`` the fast one.

    That of g^2 stays as it is: see ``move``.
    """
    size = sides(shape)
    fast, slow, new = (part.view(size) for part in (memory.fast[k], memory.slow[k], grad))
    of_rows = fast.new_empty(size[0], 1)
    for some_fast, some_slow, some_new, into in _blocks(size, fast, slow, new, of_rows):
        some_fast.lerp_(some_new, 1 - FAST)
        some_slow.lerp_(some_new, 1 - SLOW)
        work = room.like(("block",), some_fast)
        torch.sum(torch.mul(some_fast, some_fast, out=work), 1, keepdim=True, out=into)
    rows = shortened(of_rows.div_(size[1]).unsqueeze(0))
    if not is_matrix(shape):
        return Evener(rows, torch.ones_like(rows))
    weights, of_columns = rows[0].square(), fast.new_zeros(1, size[1])
    for some_fast, weight in _blocks(size, fast, weights):
        work = room.like(("block",), some_fast)
        of_columns.addmm_(weight.mT, torch.mul(some_fast, some_fast, out=work))
    return Evener(rows, shortened(of_columns.div_(size[0]).unsqueeze(0)))


def move(
    step: Tensor,
    memory: TensorwiseMemory,
    k: int,
    grad: Tensor,
    shape: torch.Size,
    weights: Sequence[float],
    least: float,
    room: Room,
    is_new: bool,
) -> float:
    """The sum of squares of the step of the tensor at place ``k``, without its orthogonal part, worked out into ``step
    (1, d)``, while the gradient is taken into the running mean of g^2; and into those of g, if it ``is_new`` to them.

    :param weights: of the directions, over the biases of what they weigh.
    :param least: the least root of the running mean of g^2.
    """
    size, held, squares = sides(shape), memory.at_look, 0.0
    given = memory.fast[k], memory.slow[k], memory.square[k], grad.contiguous(), step
    parts = [part.view(size) for part in given]
    rows, columns = weights[3] * held.rows[k][0], held.columns[k][0]
    for fast, slow, square, new, made, row in _blocks(size, *parts, rows.expand(size[0], 1)):
        if is_new:
            fast.lerp_(new, 1 - FAST)
            slow.lerp_(new, 1 - SLOW)
        work = room.like(("block",), made)
        torch.mul(fast, row, out=made).mul_(columns)
        _adaptive_(made, fast, slow, square, new, weights, least, work)
        squares += float(torch.dot(made.view(-1), made.view(-1)))
    return squares


def _adaptive_(
    made: Tensor,
    fast: Tensor,
    slow: Tensor,
    square: Tensor,
    new: Tensor,
    weights: Sequence[float],
    least: float,
    work: Tensor,
) -> None:
    """Momenta and gradient over the root of ``square``, which takes ``new`` in, added to ``made``; all contiguous."""
    of_fast, of_slow, of_new = weights[:3]
    momenta, whole = of_fast + of_slow, of_fast + of_slow + of_new
    if not momenta or not whole:
        square.mul_(SQUARE).addcmul_(new, new, value=1 - SQUARE)
        return
    torch.lerp(fast, slow, of_slow / momenta, out=work)
    if has_adam(made):
        adam_(made, new, work, square, momenta / whole, SQUARE, whole, least)
        return
    square.mul_(SQUARE).addcmul_(new, new, value=1 - SQUARE)
    work.lerp_(new, of_new / whole)
    made.addcdiv_(work, square.sqrt().clamp_min_(least), value=whole)


def sample_of(
    memory: TensorwiseMemory,
    k: int,
    grad: Tensor,
    theta: Tensor,
    evener: Evener,
    made_equal: Tensor | None,
    layout: Layout,
    least: float,
) -> Tensor:
    """What ``mean_products`` multiplies of the tensor at place ``k``, ``(1, 9, d')``, before ``grad`` is in the running
    mean of g^2.

    :param made_equal: it with its singular values made equal, if they are.
    """
    every = layout.strides[k]
    fast, slow, square, new, now = (
        part[:, ::every] for part in (memory.fast[k], memory.slow[k], memory.square[k], grad, theta)
    )
    square = torch.addcmul(SQUARE * square, new, new, value=1 - SQUARE)
    root = square.sqrt().clamp_min_(least)
    even = even_sample(memory.fast[k], evener, layout.places[k], every)
    equal = torch.zeros_like(even) if made_equal is None else torch.where(square > 0, made_equal[:, ::every], 0.0)
    return torch.stack([new, fast, slow, now, fast / root, slow / root, new / root, even, equal], 1)
