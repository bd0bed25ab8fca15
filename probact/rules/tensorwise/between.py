"""Steps of ``tensorwise`` between two looks, in place: few operations for many tensors, few passes over large ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from probact.rules.base import SMALL
from probact.rules.matrices import equalised, orthogonal_places, sides
from probact.rules.tensorwise.held import LONGER
from probact.rules.tensorwise.memory import FAST, SLOW, SQUARE, TensorwiseMemory, overwrite
from probact.rules.tensorwise.steps import allowed, along_into, held_directions
from probact.support.room import Room

BLOCK = 2**16
"""Numbers of a tensor that are worked on at once on a CPU, so that all that is made of them stays in its cache."""
Weights = Sequence[Sequence[float]]


def step_between(
    memory: TensorwiseMemory,
    grads: Sequence[Tensor],
    shapes: Sequence[torch.Size],
    names: Sequence[str],
    room: Room,
    longest: float,
) -> tuple[list[Tensor], TensorwiseMemory]:
    """The steps of one problem, M times ``(1, d_m)``, large ones in ``room`` by their ``names``, and the memory, whose
    running means are overwritten with ``grads``; as by ``Directions.along`` and ``bounded``.

    :param memory: before ``grads``, of a step without a look; the means of the loss are left as they are.
    :param longest: a step, in lengths of its tensor.
    """
    memory = memory._replace(num_seen=memory.num_seen + 1)
    held, count, factor = memory.at_look, float(memory.num_seen), float(memory.plan.factor)
    root = (1 - SQUARE**count) ** 0.5
    scale = (factor * root / (1 - FAST**count), factor * root / (1 - SLOW**count), factor * root, factor, factor)
    rates = held.rates.detach()[0].tolist()
    weights = [[rate * unbiased for rate, unbiased in zip(row, scale, strict=True)] for row in rates]
    is_large = [grad.numel() > BLOCK and grad.device.type == "cpu" for grad in grads]
    made: list[Tensor] = [*grads]
    few = [k for k, large in enumerate(is_large) if not large]
    for k, step in zip(few, _of_small(memory, grads, shapes, weights, few, SMALL**0.5 * root), strict=True):
        made[k] = step
    for k, large in enumerate(is_large):
        if large:
            made[k] = room.like(names[k], grads[k])
            _of_large(k, made[k], memory, grads[k], shapes[k], weights[k], SMALL**0.5 * root, room)
    _add_orthogonal(made, memory, shapes, weights)
    lengths = [float(norm) / part.numel() ** 0.5 for norm, part in zip(torch._foreach_norm(made), made, strict=True)]
    last = []
    for k, (row, size, length) in enumerate(zip(rates, memory.size[0].tolist(), lengths, strict=True)):
        limit = min(LONGER * factor * sum(map(abs, row)), longest * size)
        if length > limit:
            made[k].mul_(limit / length)
        last.append((length if length <= limit else limit) / size)
    return made, memory._replace(last_step=memory.last_step.new_tensor([last]))


def fused_between(
    memory: TensorwiseMemory,
    grads: list[Tensor],
    shapes: Sequence[torch.Size],
    places: Sequence[Tensor],
    longest: float,
) -> tuple[TensorwiseMemory, Tensor]:
    """``step_between`` into ``places``, M times ``(1, d_m)``, to be compiled; and what they are to be multiplied by."""
    overwrite(memory, grads)
    memory = memory._replace(num_seen=memory.num_seen + 1)
    rates = memory.plan.factor[:, None, None] * memory.at_look.rates
    along_into(places, held_directions(grads, memory, shapes), rates)
    shorter, last = allowed(places, memory, rates, longest)
    return memory._replace(last_step=last), shorter


def _of_small(
    memory: TensorwiseMemory,
    grads: Sequence[Tensor],
    shapes: Sequence[torch.Size],
    weights: Weights,
    few: Sequence[int],
    least: float,
) -> list[Tensor]:
    """All but the orthogonal part, of the tensors at the places ``few``."""
    if not few:
        return []
    held = memory.at_look
    fast, slow, square = ([parts[k] for k in few] for parts in (memory.fast, memory.slow, memory.square))
    grad = [grads[k] for k in few]
    torch._foreach_lerp_(fast, grad, 1 - FAST)
    torch._foreach_lerp_(slow, grad, 1 - SLOW)
    torch._foreach_mul_(square, SQUARE)
    torch._foreach_addcmul_(square, grad, grad, 1 - SQUARE)
    of_fast, of_slow, of_grad, of_even = ([weights[k][part] for k in few] for part in range(4))
    made = list(torch._foreach_mul(fast, of_fast))
    torch._foreach_add_(made, torch._foreach_mul(slow, of_slow))
    torch._foreach_add_(made, torch._foreach_mul(grad, of_grad))
    root = torch._foreach_sqrt(square)
    torch._foreach_clamp_min_(root, least)
    torch._foreach_div_(made, root)
    matrices = [part.view(1, *sides(shapes[k])) for k, part in zip(few, fast, strict=True)]
    rows = torch._foreach_mul([held.rows[k] for k in few], of_even)
    even = torch._foreach_mul(torch._foreach_mul(matrices, rows), [held.columns[k] for k in few])
    torch._foreach_add_(made, [part.view_as(step) for part, step in zip(even, made, strict=True)])
    return made


def _of_large(
    k: int,
    made: Tensor,
    memory: TensorwiseMemory,
    grad: Tensor,
    shape: torch.Size,
    weights: Sequence[float],
    least: float,
    room: Room,
) -> None:
    """Likewise of the tensor at place ``k``, block of rows by block, into ``made``."""
    size, held = sides(shape), memory.at_look
    parts = [part.view(size) for part in (memory.fast[k], memory.slow[k], memory.square[k], grad, made)]
    rows, columns = weights[3] * held.rows[k][0], held.columns[k][0]
    several = max(BLOCK // size[1], 1)
    blocks = zip(*(part.split(several) for part in (*parts, rows.expand(size[0], 1))), strict=True)
    for fast, slow, square, new, step, row in blocks:
        fast.lerp_(new, 1 - FAST)
        slow.lerp_(new, 1 - SLOW)
        square.mul_(SQUARE).addcmul_(new, new, value=1 - SQUARE)
        work = room.like(("block",), step)
        torch.mul(fast, weights[0], out=step).add_(slow, alpha=weights[1]).add_(new, alpha=weights[2])
        step.div_(torch.sqrt(square, out=work).clamp_min_(least))
        step.addcmul_(torch.mul(fast, row, out=work), columns)


def _add_orthogonal(
    made: Sequence[Tensor], memory: TensorwiseMemory, shapes: Sequence[torch.Size], weights: Weights
) -> None:
    """Of a matrix whose singular values are made equal no coordinate moves that never had a gradient."""
    for k, equaliser in zip(orthogonal_places(shapes), memory.at_look.equalisers, strict=True):
        part = equalised(memory.fast[k], shapes[k], equaliser)
        made[k].add_(torch.where(memory.square[k] > 0, part, 0.0), alpha=weights[k][4])
