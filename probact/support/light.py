"""Formulas of few numbers of one problem, worked out without torch, whose every operation costs more than ten such."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from probact.support.arrays import Row
from probact.support.trees import State, leaves, map_state

Result = TypeVar("Result")


def lightly(function: Callable[..., Result], *given: State) -> Result:
    """``function(*given)``, a formula by ``arrays.operations`` that gives numbers of the type of those given.

    Where all tensors given are ``(1,)`` or ``(1, n)`` on a CPU, and no graph is wanted, it is worked out with plain
    numbers, in double precision, ``~`` of which is no "not".  Tensors of the same form come out.
    """
    tensors = leaves(given)
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or not all(map(_is_light, tensors)):
        return function(*given)
    try:
        numbers = map_state(_number, given)
    except RuntimeError:  # of ``vmap``
        return function(*given)
    like = next(tensor for tensor in tensors if tensor.is_floating_point())
    result: Result = _tensors(function(*numbers), like)
    return result


def _is_light(tensor: Tensor) -> bool:
    return len(tensor) == 1 and tensor.dim() <= 2 and tensor.device.type == "cpu"


def _number(tensor: Tensor) -> float | bool | Row:
    return tensor.item() if tensor.dim() == 1 else Row(tensor[0].tolist())


def _tensors(result: State, like: Tensor) -> State:
    """With tensors in place of numbers."""
    numbers: list[float] = []
    _gather(result, numbers)
    parts = iter(like.new_tensor(numbers).unsqueeze(1).unbind(0)) if numbers else iter(())

    def put(part: State) -> State:
        if isinstance(part, bool):
            return _YES if part else _NO
        if isinstance(part, float):
            return next(parts)
        if isinstance(part, Row):
            return torch.cat([next(parts) for _ in part]).unsqueeze(0)
        if isinstance(part, tuple):
            made = [put(each) for each in part]
            return type(part)(*made) if hasattr(part, "_fields") else tuple(made)
        return part

    return put(result)


def _gather(part: State, numbers: list[float]) -> None:
    if isinstance(part, float) and not isinstance(part, bool):
        numbers.append(part)
    elif isinstance(part, tuple):
        for each in part:
            _gather(each, numbers)


_YES, _NO = torch.ones(1, dtype=torch.bool), torch.zeros(1, dtype=torch.bool)
