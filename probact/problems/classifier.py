"""Networks that classify."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn import functional as F

from probact.problems.network import NetworkFamily
from probact.support.trees import Params


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax(logits)[label] of each row, ``(n,)``."""
    return F.cross_entropy(logits, labels, reduction="none")


def labels_of(logits: Tensor) -> Categorical:
    """The density that ``cross_entropy`` is -log of."""
    return Categorical(logits=logits)


class Classifier(NetworkFamily):
    """Classifiers of linear and convolutional layers with biases, under the cross entropy; they ``load`` their data."""

    def __init__(self, make: Callable[[], nn.Module], batch_size: int, observations: int) -> None:
        super().__init__(
            make=make,
            per_example=cross_entropy,
            batch_size=batch_size,
            observations=observations,
            classifier=True,
            density=labels_of,
        )

    def initial_params(self, num: int, generator: torch.Generator) -> Params:
        """The initialisation of ``nn.Linear`` and ``nn.Conv2d``, U(+-1/sqrt(fan in)), for all networks at once."""
        params = {}
        for name, parameter in self._template.named_parameters():
            weight = self._template.get_parameter(name.replace("bias", "weight"))
            bound = weight[0].numel() ** -0.5
            params[name] = bound * (2 * torch.rand(num, *parameter.shape, generator=generator) - 1)
        return params
