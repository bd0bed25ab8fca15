"""Named tensors of L problems, and nested memories of them: mapped, flattened, cut from their graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

Params = dict[str, Tensor]
"""Parameters of L problems: name -> ``(L, *shape)``."""


def map_params(function: Any, *params: Mapping[str, Tensor]) -> Params:
    """Apply ``function`` tensor by tensor, as ``{name: function(first[name], second[name], ...)}``."""
    first, *rest = params
    return {name: function(tensor, *(other[name] for other in rest)) for name, tensor in first.items()}


def per_problem(values: Tensor, like: Tensor) -> Tensor:
    """Reshape ``(L,)`` so that it broadcasts against ``like (L, *shape)``."""
    return values.reshape(-1, *(1,) * (like.dim() - 1))


def flatten(params: Params) -> Tensor:
    """All coordinates of each problem, ``(L, d)``."""
    return torch.cat([tensor.flatten(1) for tensor in params.values()], 1)


def unflatten(flat: Tensor, like: Params) -> Params:
    """The inverse of ``flatten``."""
    parts = flat.split([tensor[0].numel() for tensor in like.values()], 1)
    return {name: part.reshape(tensor.shape) for (name, tensor), part in zip(like.items(), parts, strict=True)}


BESIDE = 4096
"""Tensors of so many numbers a problem at most are better copied side by side than read one by one."""
State = Any
"""A rule's memory: nested tuples and dicts of tensors, each with L as its first dimension."""


def map_state(function: Any, state: State) -> State:
    """Apply ``function`` to every tensor of nested tuples (named ones keep their names) and dicts."""
    if isinstance(state, Tensor):
        return function(state)
    if isinstance(state, dict):
        return {name: map_state(function, part) for name, part in state.items()}
    if isinstance(state, tuple):
        parts = (map_state(function, part) for part in state)
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return state


def leaves(state: State) -> list[Tensor]:
    """Every tensor of ``state``, in order."""
    if isinstance(state, Tensor):
        return [state]
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, tuple) else ()
    return [leaf for part in parts for leaf in ((part,) if isinstance(part, Tensor) else leaves(part))]


def finite(tensors: Iterable[Tensor]) -> Tensor:
    """Whether all of a problem's ``tensors``, some at least, each ``(L, ...)``, is finite: ``(L,)``.

    Where all is, one reading of each is enough: sums are not finite if a number in them is not.
    """
    flat = [tensor.detach().flatten(1) for tensor in tensors]
    if not torch.compiler.is_compiling():
        if len(small := [part for part in flat if part.shape[1] <= BESIDE]) > 1:
            flat = [*(part for part in flat if part.shape[1] > BESIDE), torch.cat(small, 1)]
        sums = torch.stack([part.sum(1) for part in flat]).isfinite()
        if bool(sums.all()):
            return sums.all(0)
    return torch.stack([part.isfinite().all(1) for part in flat]).all(0)


def some(kept: Tensor) -> bool:
    """Whether any is; yes where nobody knows, as a graph is compiled or ``torch.vmap`` is at work."""
    if torch.compiler.is_compiling():
        return True
    try:
        return bool(kept.any())
    except RuntimeError:  # of ``vmap``
        return True


def chosen(problems: Tensor, then: Params, otherwise: Params) -> Params:
    """Parameters of ``then`` for ``problems (L,)`` bool, ``otherwise`` for the others."""
    if not torch.compiler.is_compiling():
        if bool(problems.all()):
            return then
        if not bool(problems.any()):
            return otherwise
    return map_params(lambda a, b: torch.where(per_problem(problems, a), a, b), then, otherwise)


def detach(params: Params) -> Params:
    """The same values without graph."""
    return map_params(Tensor.detach, params)
