"""Image classifiers on MNIST, Fashion-MNIST and CIFAR-10."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from probact.problems.base import FAMILIES
from probact.problems.classifier import Classifier
from probact.problems.data.sets import load
from probact.problems.mlp import mlp
from probact.problems.network import Data, Network
from probact.problems.pruned import log_uniform_width, prune
from probact.support.refusals import check_range


class Pixels(nn.Module):
    """uint8 images ``(n, channels, height, width)`` to (pixel / 255 - mean) / std, in the default floating type."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.scale = [1 / (255 * s) for s in std]
        self.shift = [m / s for m, s in zip(mean, std, strict=True)]

    def forward(self, images: Tensor) -> Tensor:
        channels = zip(images.split(1, 1), self.scale, self.shift, strict=True)
        scaled = [channel * scale - shift for channel, scale, shift in channels]
        return torch.cat(scaled, 1) if len(scaled) > 1 else scaled[0]


class _ImageMLP(Classifier):
    """MLPs 784-``hidden``-10.

    ``mixed``: of mixed difficulty: each hidden layer of 2 to its full width, log-uniform from net to net, and each
    number of hidden layers equally often.  The last one left passes its activations on to the output layer; the weights
    of those skipped are held at 0, as those of pruned units are.

    The price of a step suits x, a sum over 128 images.  At KL scale 1 and nu = .95 they would all run to the end.  So a
    step costs 8 times as much here: 0.0032 nats an image.

    ``held_out``: whether x (and the test score) are of the test images; if not, meta-training sees no test image.
    """

    mean: ClassVar[float]
    std: ClassVar[float]
    recommended: ClassVar[Mapping[str, Any]] = {
        "rule_options": {"scale": 0.1},
        "halting_first": True,
        "kl_scale": 8.0,
        "batch": 1,
        "horizon": 50,
        "lr": 3e-3,
        "meta_steps": 300,
        "validation_problems": 8,
        "test_problems": 32,
    }

    def __init__(
        self,
        hidden: tuple[int, ...] = (20,),
        activation: str = "sigmoid",
        mixed: bool = False,
        batch_size: int = 128,
        observations: int = 128,
        held_out: bool = True,
    ) -> None:
        if mixed and (not hidden or min(hidden) < 2):
            got = ", ".join(map(str, hidden)) or "none"
            raise ValueError(f"family {self.name!r}: expected hidden layers of >= 2 units where mixed, got {got}")
        self.hidden = hidden
        self.mixed = mixed
        self.observes_test = held_out
        super().__init__(lambda: self._make(activation), batch_size, observations)

    def load(self) -> tuple[Data, Data]:
        training, test = load(self.name)
        return training, test if self.observes_test else training

    def _make(self, activation: str) -> nn.Module:
        body = mlp((784, *self.hidden, 10), activation, skippable=self.mixed)
        return nn.Sequential(Pixels((self.mean,), (self.std,)), nn.Flatten(), *body)

    def sample(self, num: int, generator: torch.Generator) -> Network:
        network = super().sample(num, generator)
        if not self.mixed:
            return network
        widths = [log_uniform_width(num, units, generator) for units in self.hidden]
        depth = torch.randint(1, 1 + len(self.hidden), (num,), generator=generator)
        return prune(network, self._template, widths, depth)


@FAMILIES.register("mnist")
class MNIST(_ImageMLP):
    """MLPs 784-20-10 on MNIST's 60,000 digits; x is a batch of the 10,000 test images; optimum unknown.

    ``hidden``: sizes of the hidden layers; ``mixed``: networks of several widths and depths, with at most those.
    Data: LeCun, Cortes and Burges 1998; see ``problems.data.sets`` for where it is looked for.
    """

    mean, std = 0.1307, 0.3081


@FAMILIES.register("fashion-mnist")
class FashionMNIST(_ImageMLP):
    """MLPs 784-20-10 on Fashion-MNIST's 60,000 pieces of clothing, with the options of ``mnist``; optimum unknown.

    Data: Xiao, Rasul and Vollgraf 2017 (MIT).
    """

    mean, std = 0.2860, 0.3530


@FAMILIES.register("cifar10")
class CIFAR10(Classifier):
    """Small CNNs on CIFAR-10's photographs: 3 x 3 convolutions with stride 2, ReLU, a linear layer; optimum unknown.

    ``channels`` of the convolutions, each of which halves height and width.  Data: Krizhevsky 2009.
    """

    recommended: ClassVar[Mapping[str, Any]] = {
        **_ImageMLP.recommended,
        "validation_problems": 4,
        "test_problems": 16,
    }

    def __init__(self, channels: tuple[int, ...] = (8, 16), batch_size: int = 64, observations: int = 64) -> None:
        if not 1 <= len(channels) <= 5 or min(channels) < 1:
            got = ", ".join(map(str, channels)) or "none"
            raise ValueError(f"family 'cifar10': expected 1 to 5 layers of >= 1 channels, got {got}")
        check_range(self.label, channels=max(channels))
        super().__init__(lambda: cnn(channels), batch_size, observations)

    def load(self) -> tuple[Data, Data]:
        return load("cifar10")


def cnn(channels: tuple[int, ...]) -> nn.Sequential:
    """Ten logits of normalised CIFAR-10 images ``(n, 3, 32, 32)``."""
    layers: list[nn.Module] = [Pixels((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))]
    for inputs, outputs in pairwise((3, *channels)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]
    side = 32 >> len(channels)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * side**2, 10))
