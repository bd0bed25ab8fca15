"""Steps of ``tensorwise``: the directions of each tensor, added up as the network says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from probact.rules.base import SMALL
from probact.rules.matrices import Evener, equalisers, orthogonal
from probact.rules.tensorwise.held import LONGER, Held, still
from probact.rules.tensorwise.memory import Biases, TensorwiseMemory
from probact.support.room import Room
from probact.support.trees import some


class Directions(NamedTuple):
    """All that steps of M tensors are made of.

    :ivar grads: M times ``(L, d_m)``; :ivar memory: with them in it.
    :ivar biases: of its running means.
    :ivar eveners: of ``memory.fast``; :ivar orthogonal: place -> that tensor with its singular values made equal.
    """

    grads: Sequence[Tensor]
    memory: TensorwiseMemory
    biases: Biases
    eveners: Sequence[Evener]
    orthogonal: Mapping[int, Tensor]

    def along(self, rates: Tensor) -> list[Tensor]:
        """The sum of the five directions, m / sqrt(v), n / sqrt(v), g / sqrt(v), m made even and m with its singular
        values made equal, times ``rates (L, M, 5)``: M times ``(L, d_m)``.
        """
        weights, least, memory = self._weights(rates).unsqueeze(-1), self._least(), self.memory
        made = []
        for k, (fast, slow, square, grad) in enumerate(
            zip(memory.fast, memory.slow, memory.square, self.grads, strict=True)
        ):
            of_fast, of_slow, of_grad, of_even, of_orthogonal = weights[:, k].unbind(1)
            adaptive = torch.addcmul(torch.addcmul(of_fast * fast, of_slow, slow), of_grad, grad)
            step = torch.addcmul(adaptive / torch.maximum(square.sqrt(), least), of_even, self.eveners[k].times(fast))
            made.append(torch.addcmul(step, of_orthogonal, self.orthogonal[k]) if k in self.orthogonal else step)
        return made

    def along_in(self, places: Sequence[Tensor], room: Room, rates: Tensor) -> None:
        """``along`` for one problem, into ``places``, M times ``(1, d_m)``, with ``room`` to work in."""
        least, memory = float(self._least()), self.memory
        for k, (of_fast, of_slow, of_grad, of_even, of_orthogonal) in enumerate(self._weights(rates)[0].tolist()):
            fast, grad = memory.fast[k], self.grads[k]
            step, work = places[k], _part(room, memory.fast, fast)
            torch.mul(fast, of_fast, out=step).add_(memory.slow[k], alpha=of_slow).add_(grad, alpha=of_grad)
            step.div_(torch.sqrt(memory.square[k], out=work).clamp_min_(least))
            evener = self.eveners[k]
            sides = evener.sides(fast)
            even = torch.mul(fast.unflatten(-1, sides), of_even * evener.rows, out=work.unflatten(-1, sides))
            step.unflatten(-1, sides).addcmul_(even, evener.columns)
            if k in self.orthogonal:
                step.add_(self.orthogonal[k], alpha=of_orthogonal)

    def _weights(self, rates: Tensor) -> Tensor:
        """``rates`` over the biases of what they weigh."""
        fast, slow, root = self.biases
        unbiased = torch.stack([root / fast, root / slow, root], -1)
        return torch.cat([rates[..., :3] * unbiased.unsqueeze(1), rates[..., 3:]], -1)

    def _least(self) -> Tensor:
        """The least root of ``square``, ``(L, 1)``."""
        return SMALL**0.5 * self.biases.root.unsqueeze(-1)


def matrices_of(
    memory: TensorwiseMemory, shapes: Sequence[torch.Size], room: Room | None = None
) -> tuple[list[Evener], dict[int, Tensor]]:
    """``eveners`` and ``orthogonal`` of ``Directions``.

    :param room: to work in.
    """
    eveners = _eveners(memory, shapes, room)
    return eveners, still(orthogonal(memory.fast, shapes), memory.square)


def held_matrices(memory: TensorwiseMemory, shapes: Sequence[torch.Size], room: Room | None = None) -> Held:
    """What ``memory`` holds, with what makes its matrices even now.

    :param room: to work in.
    """
    eveners = _eveners(memory, shapes, room)
    return memory.at_look._replace(
        rows=tuple(evener.rows for evener in eveners),
        columns=tuple(evener.columns for evener in eveners),
        equalisers=tuple(equalisers(memory.fast, shapes).values()),
    )


def _eveners(memory: TensorwiseMemory, shapes: Sequence[torch.Size], room: Room | None) -> list[Evener]:
    fast = memory.fast
    return [
        Evener.of(part, shape, None if room is None else _part(room, fast, part))
        for part, shape in zip(fast, shapes, strict=True)
    ]


def along_into(places: Sequence[Tensor], directions: Directions, rates: Tensor) -> None:
    """``Directions.along`` into ``places``, M times ``(L, d_m)``: to be compiled."""
    for place, made in zip(places, directions.along(rates), strict=True):
        place.copy_(made)


def held_directions(grads: Sequence[Tensor], memory: TensorwiseMemory, shapes: Sequence[torch.Size]) -> Directions:
    """With what ``memory`` holds from the last look."""
    held = memory.at_look
    equal = held.orthogonal(memory.fast, memory.square, shapes)
    return Directions(grads, memory, memory.biases(), held.eveners, equal)


def bounded(
    made: list[Tensor], memory: TensorwiseMemory, rates: Tensor, looks: Tensor, longest: float
) -> tuple[list[Tensor], TensorwiseMemory]:
    """Steps ``made``, M times ``(L, d_m)``, of problems without ``looks (L,)`` no longer than ``rates (L, M, 5)`` and
    the size of a tensor allow, and ``memory`` told of their lengths.

    :param longest: in lengths of the tensor.
    """
    with torch.no_grad():
        shorter, last = allowed(made, memory, rates, longest)
        looks = looks.unsqueeze(-1)
        shorter, last = torch.where(looks, 1.0, shorter), torch.where(looks, memory.last_step, last)
    if some(shorter < 1):
        made = [part * shorter[:, k, None] for k, part in enumerate(made)]
    return made, memory._replace(last_step=last)


def allowed(made: Sequence[Tensor], memory: TensorwiseMemory, rates: Tensor, longest: float) -> tuple[Tensor, Tensor]:
    """What steps between looks are to be multiplied by, as in ``bounded``, and their lengths then, ``(L, M)`` both."""
    length = torch.stack([part.detach().square().mean(-1) for part in made], -1).sqrt()
    limit = torch.minimum(LONGER * rates.detach().abs().sum(-1), longest * memory.size)
    shorter = (limit / length.clamp_min(SMALL)).clamp_max(1.0)
    return shorter, shorter * length / memory.size


def _part(room: Room, all_parts: Sequence[Tensor], part: Tensor) -> Tensor:
    """Room for one part at a time, of the form of ``part (1, d_m)``."""
    longest = max(all_parts, key=Tensor.numel)
    return room.like(("work",), longest)[:, : part.shape[-1]]
