"""Fully connected networks, plain or of a depth that differs from network to network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from probact.support.refusals import check_range

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}


class Skippable(nn.Module):
    """A hidden layer, or the identity where its weight is 0 throughout: a pruned layer is no layer.

    So depth is a function of the parameters alone, and networks of several depths run side by side.
    """

    def __init__(self, units: int, activation: str) -> None:
        super().__init__()
        self.linear = nn.Linear(units, units)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, hidden: Tensor) -> Tensor:
        skipped = (self.linear.weight == 0).all()
        return torch.where(skipped, hidden, self.activation(self.linear(hidden)))


def mlp(sizes: tuple[int, ...], activation: str, skippable: bool = False) -> nn.Sequential:
    """Fully connected network with ``sizes`` units, input first, and ``activation`` between the layers.

    :param skippable: hidden layers beyond the first, all of one size, can be pruned away.
    :raises ValueError: on an unknown activation, or sizes that do not fit.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {activation!r}: choose from {', '.join(ACTIVATIONS)}")
    hidden = sizes[1:-1]
    if any(units < 1 for units in hidden):
        raise ValueError(f"expected hidden layers of >= 1 units, got {', '.join(map(str, hidden))}")
    check_range("mlp", hidden=max(hidden, default=1))
    if skippable and len(set(hidden)) > 1:
        raise ValueError(f"expected hidden layers of one size where depth is mixed, got {', '.join(map(str, hidden))}")
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        if skippable and 0 < index < len(hidden):
            layers.append(Skippable(outputs, activation))
        else:
            layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])
