"""Steps of ``tensorwise`` of one problem in place: few operations for many tensors, few passes over large ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from probact.rules.base import SMALL
from probact.rules.matrices import Evener, equalised, equalisers, orthogonal_places
from probact.rules.tensorwise.blocks import move, sample_of, take_in_and_even
from probact.rules.tensorwise.held import LONGER, Held
from probact.rules.tensorwise.memory import FAST, SLOW, SQUARE, TensorwiseMemory, overwrite
from probact.rules.tensorwise.signals import layout_of, products_of
from probact.rules.tensorwise.steps import allowed, along_into, held_directions
from probact.rules.tensorwise.together import Together
from probact.support.light import lightly
from probact.support.room import Room


def step_between(
    memory: TensorwiseMemory,
    grads: Sequence[Tensor],
    shapes: tuple[torch.Size, ...],
    names: Sequence[str],
    room: Room,
    longest: float,
) -> tuple[list[Tensor], TensorwiseMemory]:
    """The steps of one problem, M times ``(1, d_m)``, in ``room`` by their ``names``, and the memory, whose running
    means are overwritten with ``grads``; as by ``Directions.along`` and ``bounded``.

    :param memory: before ``grads``, of a step without a look; the means of the loss are left as they are.
    :param longest: a step, in lengths of its tensor.
    """
    together = together_of(shapes, names, room, grads[0])
    memory = together.adopt(memory)._replace(num_seen=memory.num_seen + 1)
    together.take_in(grads)
    factor, rates = factor_of(memory), memory.at_look.rates.detach()[0].tolist()
    made, lengths = _moved(memory, grads, shapes, names, room, together, None)
    last = []
    for k, (row, size, length) in enumerate(zip(rates, memory.size[0].tolist(), lengths, strict=True)):
        limit = min(LONGER * factor * sum(map(abs, row)), longest * size)
        if length > limit:
            made[k].mul_(limit / length)
        last.append((length if length <= limit else limit) / size)
    return made, memory._replace(last_step=memory.last_step.new_tensor([last]))


def look_between(
    memory: TensorwiseMemory,
    grads: Sequence[Tensor],
    thetas: Sequence[Tensor],
    shapes: tuple[torch.Size, ...],
    names: Sequence[str],
    room: Room,
) -> tuple[TensorwiseMemory, Tensor]:
    """The memory of one problem, whose running means of g are overwritten with ``grads``, and which holds what makes
    its matrices even now; and ``mean_products``.  ``step_at_look`` goes on.

    :param grads, thetas: M times ``(1, d_m)``.
    """
    layout = layout_of(shapes, grads[0].dtype, grads[0].device)
    together = together_of(shapes, names, room, grads[0])
    memory = together.adopt(memory)._replace(num_seen=memory.num_seen + 1)
    together.take_in(grads)
    rows, columns = together.made_even()
    together.make_even(rows, columns)
    eveners = dict(zip(together.places, map(Evener, rows, columns), strict=True))
    for k in (large := _large(together, grads)):
        eveners[k] = take_in_and_even(memory, k, grads[k], shapes[k], room)
    equal = equalisers(memory.fast, shapes)
    held = memory.at_look._replace(
        rows=tuple(eveners[k].rows for k in range(len(grads))),
        columns=tuple(eveners[k].columns for k in range(len(grads))),
        equalisers=tuple(equal.values()),
    )
    together.equal([equal[k] for k in together.places[: together.num_orthogonal]])
    biases = memory.biases()
    least = float(SMALL**0.5 * biases.root)
    samples = dict(zip(together.places, together.sampled(thetas, least), strict=True))
    for k in large:
        made_equal = equalised(memory.fast[k], shapes[k], equal[k]) if k in equal else None
        samples[k] = sample_of(memory, k, grads[k], thetas[k], eveners[k], made_equal, layout, least)
    return memory._replace(held=held), products_of([samples[k] for k in range(len(grads))], biases, layout)


def step_at_look(
    memory: TensorwiseMemory,
    grads: Sequence[Tensor],
    shapes: tuple[torch.Size, ...],
    names: Sequence[str],
    room: Room,
) -> list[Tensor]:
    """The steps after ``look_between``, M times ``(1, d_m)``, in ``room`` by their ``names``; ``grads`` are taken into
    the running mean of their square.
    """
    together = together_of(shapes, names, room, grads[0])
    return _moved(memory, grads, shapes, names, room, together, memory.at_look)[0]


def factor_of(memory: TensorwiseMemory) -> float:
    """Of the next step, as the plan of one problem says."""
    return float(lightly(lambda plan: plan.factor, memory.plan))


def together_of(shapes: tuple[torch.Size, ...], names: Sequence[str], room: Room, like: Tensor) -> Together:
    """The small tensors of those with ``names``, in the room."""
    return room.made(("together", *names), (shapes, like.dtype, like.device), lambda: Together(shapes, like))


def _large(together: Together, grads: Sequence[Tensor]) -> list[int]:
    small = {*together.places}
    return [k for k in range(len(grads)) if k not in small]


def _moved(
    memory: TensorwiseMemory,
    grads: Sequence[Tensor],
    shapes: Sequence[torch.Size],
    names: Sequence[str],
    room: Room,
    together: Together,
    look: Held | None,
) -> tuple[list[Tensor], list[float]]:
    """Steps, M times ``(1, d_m)``, and their root mean squares.

    :param look: what is held from a look at these gradients, if there was one.
    """
    held, count, factor = memory.at_look, float(memory.num_seen), factor_of(memory)
    root = (1 - SQUARE**count) ** 0.5
    scale = (factor * root / (1 - FAST**count), factor * root / (1 - SLOW**count), factor * root, factor, factor)
    equal = dict(zip(orthogonal_places(shapes), held.equalisers, strict=True))
    together.hold(held, look is not None)
    of_small = [equal[k] for k in together.places[: together.num_orthogonal]] if look is None else None
    together.move(scale, SMALL**0.5 * root, of_small)
    made, lengths = [*grads], [0.0] * len(grads)
    for k, step, length in zip(together.places, together.parts["step"], together.lengths().tolist(), strict=True):
        made[k], lengths[k] = step, length
    large = _large(together, grads)
    rates = held.rates.detach()[0].tolist() if large else []
    for k in large:
        weights = [rate * unbiased for rate, unbiased in zip(rates[k], scale, strict=True)]
        made[k] = step = room.like(names[k], grads[k])
        squares = move(step, memory, k, grads[k], shapes[k], weights, SMALL**0.5 * root, room, look is None)
        if k in equal:  # no coordinate moves that never had a gradient
            part = equalised(memory.fast[k], shapes[k], equal[k])
            step.add_(torch.where(memory.square[k] > 0, part, 0.0), alpha=weights[4])
            squares = float(torch.dot(step[0], step[0]))
        lengths[k] = (squares / step.numel()) ** 0.5
    return made, lengths


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
