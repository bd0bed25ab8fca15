"""Parameter groups: whose parameters stand where, and the options that a group may have."""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Mapping, Sequence
from numbers import Real
from typing import Any

from torch import Tensor

from probact.drop_in.paced import Pace

OPTIONS = {"lr": 1.0, "weight_decay": 0.0}
"""Options of a group, and what they are unless given."""
Groups = Sequence[dict[str, Any]]


def checked(group: Mapping[str, Any]) -> dict[str, Any]:
    """``group`` with each parameter once.

    :raises ValueError: on an option that is not one of ``OPTIONS``, or is no number >= 0.
    """
    for name, value in group.items():
        if name in ("params", "param_names", "initial_lr"):
            continue
        if name not in OPTIONS:
            raise ValueError(f"a parameter group has no option {name!r} here: choose from {', '.join(OPTIONS)}")
        if not isinstance(value, Real | Tensor) or not 0 <= float(value) < math.inf:
            raise ValueError(f"option {name!r} of a parameter group: expected a number >= 0, got {value!r}")
    params = group["params"]
    if isinstance(params, list | tuple):
        params = list({id(param): param for param in params}.values())
    return {**group, "params": params}


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
