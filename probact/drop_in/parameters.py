"""Parameters of any type, shape and device: read as one problem of a rule, and written back."""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from probact.support.trees import Params, State, leaves, map_state

Module = TypeVar("Module", bound=nn.Module)


def working_zero(params: Iterable[Tensor]) -> Tensor:
    """A zero ``(1,)`` of the type in which a rule is worked out for ``params``, on the first one's device.

    That is double precision if any of them has it, else single: half a number's digits are too few for its square.
    """
    found = [param for param in params if param.is_floating_point() or param.is_complex()]
    double = any(param.dtype in (torch.float64, torch.complex128) for param in found)
    device = found[0].device if found else None
    return torch.zeros(1, dtype=torch.float64 if double else torch.float32, device=device)


def read(tensor: Tensor, like: Tensor) -> Tensor:
    """``(*shape)`` -> ``(1, *shape)`` of the type of ``like``; a number is ``(1, 1)``, complex has a last axis of 2.

    It may share memory with ``tensor``: see ``owned``.
    """
    tensor = tensor.detach()
    if tensor.dtype == like.dtype and tensor.device == like.device and tensor.dim():
        return tensor.unsqueeze(0)
    real = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    return real.reshape(1, *(real.shape or (1,))).to(like)


def owned(state: State, lent: Iterable[Tensor], before: State = None) -> State:
    """``state`` without memory that it shares with tensors that are only ``lent``, as others change them.

    :param before: a state that shares none; what is the same in both is not looked at again.
    """
    new = _new(state, before)
    storages = [tensor.untyped_storage() for tensor in lent]
    places = sorted((storage.data_ptr(), storage.data_ptr() + storage.nbytes()) for storage in storages)
    begins = [begin for begin, _ in places]

    def is_lent(part: Tensor) -> bool:
        place = bisect_right(begins, part.data_ptr()) - 1
        return place >= 0 and part.data_ptr() < places[place][1]

    if not any(map(is_lent, new)):
        return state
    return map_state(lambda part: part.clone() if is_lent(part) else part, state)


def _new(state: State, before: State) -> list[Tensor]:
    """The tensors of ``state`` that are not in the same place of ``before``."""
    if state is before:
        return []
    if isinstance(state, tuple) and isinstance(before, tuple) and len(state) == len(before):
        return [leaf for pair in zip(state, before, strict=True) for leaf in _new(*pair)]
    if isinstance(state, dict) and isinstance(before, dict) and state.keys() == before.keys():
        return [leaf for name, part in state.items() for leaf in _new(part, before[name])]
    return leaves(state)


def move_all(params: Mapping[str, Tensor], updates: Mapping[str, Tensor]) -> None:
    """``move`` each of ``params`` by its update, those of one type and device at once."""
    names = [name for name in updates if name in params]
    alike = {(param.dtype, param.device) for param in (*params.values(), *updates.values())}
    if len(alike) == 1 and names and not params[names[0]].is_complex():
        steps = [updates[name].reshape(params[name].shape) for name in names]
        torch._foreach_add_([params[name] for name in names], steps)
        return
    for name in names:
        move(params[name], updates[name])


def move(param: Tensor, update: Tensor) -> None:
    """Add what has the form of ``read``, in place."""
    real = torch.view_as_real(param) if param.is_complex() else param
    real.add_(update.reshape(real.shape))


def write(param: Tensor, values: Tensor) -> None:
    """The inverse of ``read``, in place."""
    real = torch.view_as_real(param) if param.is_complex() else param
    real.copy_(values.reshape(real.shape))


def read_gradients(params: Mapping[str, Tensor], like: Tensor) -> Params:
    """The gradients of those that have one, as ``read``.

    :raises ValueError: if one is sparse, or is one rank's shard.
    """
    grads = {}
    for name, param in params.items():
        if param.grad is None or not param.numel():
            continue
        if hasattr(param, "device_mesh"):
            raise ValueError(f"parameter {name}: expected all of it on each rank, got a shard (DTensor)")
        if param.grad.layout is not torch.strided:
            raise ValueError(
                f"parameter {name}: expected a dense gradient (nn.Embedding has sparse=False for it), "
                f"got {param.grad.layout}"
            )
        grads[name] = read(param.grad, like)
    return grads


def moved(state: State, like: Tensor) -> State:
    """``state`` on the device of ``like``, and all that is not whole numbers or yes and no of its type."""
    return map_state(lambda part: part.to(like if part.is_floating_point() else like.device), state)


def fitted(module: Module, like: Tensor) -> Module:
    """``module`` if its weights are of the type and on the device of ``like``, else a copy that is."""
    if all(weight.dtype == like.dtype and weight.device == like.device for weight in module.parameters()):
        return module
    return copy.deepcopy(module).to(like)
