"""Parameter groups: whose parameters stand where, and the options that a group may have."""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Mapping, Sequence
from numbers import Real
from typing import Any, TypedDict

import torch
from torch import Tensor

from probact.drop_in.paced import Pace
from probact.support.trees import Params, map_params

OPTIONS: dict[str, Any] = {"lr": 1.0, "weight_decay": 0.0, "maximize": False}
"""Options of a group, and what they are unless given."""
LEAST_USUAL = 0.02
"""A factor ``lr`` for all groups below this is likely to be meant as a learning rate."""
IMPLEMENTATIONS = ("foreach", "fused")
"""Ways in which ``torch.optim`` works a step out; there is one here, so that to ask for none of them is all right."""
OF_OTHERS = ("params", "param_names", "initial_lr")
"""Of ``torch.optim`` itself and of its schedulers."""
Groups = Sequence[Mapping[str, Any]]


class Options(TypedDict, total=False):
    """What scripts hand to optimizers for all groups."""

    lr: float | Tensor
    weight_decay: float
    maximize: bool
    foreach: bool | None
    fused: bool | None


def checked(group: Mapping[str, Any]) -> dict[str, Any]:
    """``group`` with each parameter once, and without ``IMPLEMENTATIONS``.

    :raises ValueError: on an option that is not one of ``OPTIONS``, or has no value of its kind.
    """
    params = group["params"]
    if isinstance(params, list | tuple):
        params = list({id(param): param for param in params}.values())
    return {**_known(group, "a parameter group"), "params": params}


def defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """``OPTIONS``, but where ``options`` say otherwise.

    :raises ValueError: as ``checked``.
    """
    return {**OPTIONS, **_known(options, "beside total_steps, stop, validation, price and so on the optimizer")}


def _known(options: Mapping[str, Any], what: str) -> dict[str, Any]:
    for name, value in options.items():
        if name in OF_OTHERS:
            continue
        if name in IMPLEMENTATIONS:
            if value is not None and value is not False:
                raise ValueError(f"option {name!r}: expected None or False, as there is one way to step, got {value!r}")
        elif name not in OPTIONS:
            raise ValueError(f"{what} has no option {name!r} here: choose from {', '.join(OPTIONS)}")
        elif name == "maximize":
            if not isinstance(value, bool):
                raise ValueError(f"option {name!r} of a parameter group: expected True or False, got {value!r}")
        elif not isinstance(value, Real | Tensor) or not 0 <= float(value) < math.inf:
            raise ValueError(f"option {name!r} of a parameter group: expected a number >= 0, got {value!r}")
    return {name: value for name, value in options.items() if name not in IMPLEMENTATIONS}


def maximize(groups: Groups) -> bool:
    """Whether the loss is to go up.

    :raises ValueError: if the groups, which share a rule and so a loss, do not agree.
    """
    if len(asked := {bool(group["maximize"]) for group in groups}) > 1:
        raise ValueError("option 'maximize': expected the same in all parameter groups (they share the loss), got both")
    return asked == {True}


def downhill(groups: Groups, value: Tensor) -> Tensor:
    """Of a loss or a gradient: what the rule, which descends, is to see."""
    return -value if maximize(groups) else value


def all_downhill(groups: Groups, grads: Params) -> Params:
    """``downhill`` of each."""
    return map_params(torch.neg, grads) if maximize(groups) else grads


def by_place(groups: Groups) -> dict[str, Tensor]:
    """All parameters by their places, "0", "1", ..."""
    return {str(place): param for place, param in enumerate(param for group in groups for param in group["params"])}


def paces(groups: Groups, with_gradient: Container[str]) -> dict[str, Pace]:
    """How each parameter is to move, by its place."""
    owners = (group for group in groups for _ in group["params"])
    return {
        str(place): Pace(float(group["lr"]), float(group["weight_decay"]), str(place) in with_gradient)
        for place, group in enumerate(owners)
    }


def packed(groups: Groups) -> list[dict[str, Any]]:
    """The groups with places for their parameters, as ``torch.optim`` saves them."""
    places = itertools.count()
    return [{**group, "params": [next(places) for _ in group["params"]]} for group in groups]


def sizes(groups: Groups) -> list[int]:
    """How many parameters each has."""
    return [len(group["params"]) for group in groups]
