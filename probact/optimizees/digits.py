"""Small image classifiers on real data: scikit-learn's 8 x 8 digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from probact.optimizees.base import Params, map_params, per_problem
from probact.optimizees.network import Data, Network, NetworkFamily
from probact.registry import FAMILIES

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}


@cache
def _digits() -> tuple[Data, Data]:
    """1,437 training and 360 held-out images, pixels in [0, 1]; every fifth image is held out."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images, targets = torch.as_tensor(pixels, dtype=torch.float32) / 16, torch.as_tensor(labels)
    held_out = torch.arange(len(images)) % 5 == 0
    return (images[~held_out], targets[~held_out]), (images[held_out], targets[held_out])


def mlp(sizes: tuple[int, ...], activation: str) -> nn.Sequential:
    """Fully connected network with ``sizes`` units, input first, and ``activation`` between the layers."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax(logits)[label] of each row, ``(n,)``."""
    return F.cross_entropy(logits, labels, reduction="none")


@FAMILIES.register("digits")
class Digits(NetworkFamily):
    """MLPs 64-20-10 on scikit-learn's 1,797 digits: minibatch gradients, a held-out batch as x; optimum unknown.

    A sum over 64 images outweighs the prior p(T): with it as the guide's horizon the bound would lose 11 nats and every
    problem halt alike, so that this family infers T.

    Data: the UCI optical digits test set (Alpaydin and Kaynak 1998), in scikit-learn (BSD).
    """

    recommended: ClassVar[Mapping[str, Any]] = {
        "halting": "truncated",
        "infer_horizon": True,
        "batch": 6,
        "horizon": 50,
        "lr": 5e-3,
        "meta_steps": 200,
        "validation_problems": 32,
        "test_problems": 64,
    }

    def __init__(
        self,
        hidden: tuple[int, ...] = (20,),
        activation: str = "sigmoid",
        batch_size: int = 64,
        observations: int = 64,
    ) -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}: choose from {', '.join(ACTIVATIONS)}")
        train, held_out = _digits()
        super().__init__(
            make=lambda: mlp((64, *hidden, 10), activation),
            per_example=cross_entropy,
            train=train,
            held_out=held_out,
            batch_size=batch_size,
            observations=observations,
            classifier=True,
        )

    def initial_params(self, num: int, generator: torch.Generator) -> Params:
        """``nn.Linear``'s own initialisation, U(+-1/sqrt(fan in)), for all networks at once."""
        params = {}
        for name, parameter in self._template.named_parameters():
            weight = name.replace("bias", "weight")
            bound = self._template.get_parameter(weight).shape[1] ** -0.5
            params[name] = bound * (2 * torch.rand(num, *parameter.shape, generator=generator) - 1)
        return params


@dataclass(frozen=True)
class Pruned(Network):
    """Networks of different widths in tensors of one shape.

    ``kept``: name -> ``(L, *shape)``, 1 for the weights that a network has and 0 for the others, which are held at 0.
    """

    kept: Params = field(kw_only=True)

    def _prune(self, params: Params) -> Params:
        return map_params(torch.mul, params, self.kept)

    def loss(self, params: Params, step: int) -> Tensor:
        return super().loss(self._prune(params), step)

    def nll(self, params: Params) -> Tensor:
        return super().nll(self._prune(params))

    def accuracy(self, params: Params) -> Tensor | None:
        return super().accuracy(self._prune(params))


@FAMILIES.register("digits-mixed")
class DigitsMixed(Digits):
    """Digits of mixed difficulty: one hidden layer of 2 to ``widest`` sigmoid units, log-uniform from net to net.

    Narrow networks have little to gain and stop early, wide ones late.
    """

    def __init__(self, widest: int = 32, batch_size: int = 64, observations: int = 64) -> None:
        if widest < 2:
            raise ValueError(f"family 'digits-mixed': expected widest >= 2, got {widest}")
        self.widest = widest
        super().__init__((widest,), "sigmoid", batch_size, observations)

    def sample(self, num: int, generator: torch.Generator) -> Pruned:
        network = super().sample(num, generator)
        low, high = math.log(2), math.log(self.widest + 1)
        width = torch.exp(low + (high - low) * torch.rand(num, generator=generator)).floor()
        kept = (torch.arange(self.widest) < width.unsqueeze(-1)).to(torch.get_default_dtype())
        masks = {
            "0.weight": kept.unsqueeze(-1).expand(-1, -1, 64),
            "0.bias": kept,
            "2.weight": kept.unsqueeze(1).expand(-1, 10, -1),
            "2.bias": torch.ones(num, 10),
        }
        # nn.Linear's start is U(+-1/sqrt(fan in)) with the fan in that is left.
        fan_in = {"2.weight": (self.widest / width).sqrt(), "2.bias": (self.widest / width).sqrt()}
        init = {
            name: tensor * masks[name] * per_problem(fan_in.get(name, torch.ones(num)), tensor)
            for name, tensor in network.init.items()
        }
        fields = {name: value for name, value in vars(network).items() if name != "init"}
        return Pruned(init, **fields, kept=masks)
