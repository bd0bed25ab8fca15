"""Room for what is worked out and used at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor


class HasTensors(Protocol):
    """What a room keeps beside tensors."""

    def tensors(self) -> list[Tensor]:
        """All that are in it."""


Made = TypeVar("Made", bound=HasTensors)
BLOCK = 2**16
"""Numbers of a tensor that are worked on at once on a CPU, so that all that is made of them stays in its cache."""


def in_blocks(tensor: Tensor) -> bool:
    """Whether it is so large that it is better worked on block by block."""
    return tensor.numel() > BLOCK and tensor.device.type == "cpu"


class Room:
    """Tensors that are made once and overwritten again and again, as fresh memory costs more than the numbers in it.

    They are never saved or copied: a copy, or what is read from a file, begins with none.
    """

    def __init__(self) -> None:
        self._kept: dict[Any, Tensor] = {}
        self._others: dict[Any, tuple[Any, Any]] = {}

    def made(self, name: Any, form: Any, make: Callable[[], Made]) -> Made:
        """What ``make`` returned when last asked for by that name; another, where the ``form`` differs."""
        if name not in self._others or self._others[name][0] != form:
            self._others[name] = form, make()
        found: Made = self._others[name][1]
        return found

    def like(self, name: Any, tensor: Tensor) -> Tensor:
        """One of that name and of the shape, type and device of ``tensor``, contiguous; with any numbers in it."""
        kept = self._kept.get((name, tensor.shape))
        if kept is None or kept.dtype != tensor.dtype or kept.device != tensor.device:
            self._kept[name, tensor.shape] = kept = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
        return kept

    def tensors(self) -> list[Tensor]:
        """All that is kept."""
        return [*self._kept.values(), *(tensor for _, made in self._others.values() for tensor in made.tensors())]

    def __deepcopy__(self, memo: Any) -> Room:
        return Room()

    def __reduce__(self) -> tuple[type[Room], tuple[()]]:
        return Room, ()
