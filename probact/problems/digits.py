"""Small networks on scikit-learn's 8 x 8 digits: classifiers and an autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent
from torch.nn import functional as F

from probact.problems.base import FAMILIES
from probact.problems.classifier import Classifier
from probact.problems.mlp import mlp
from probact.problems.network import Data, NetworkFamily
from probact.problems.pruned import Pruned, log_uniform_width, prune
from probact.support.refusals import check_range


@cache
def read_digits() -> tuple[Data, Data]:
    """1,437 training and 360 held-out images, pixels in [0, 1]; every fifth image is held out."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images, targets = torch.as_tensor(pixels, dtype=torch.float32) / 16, torch.as_tensor(labels)
    held_out = torch.arange(len(images)) % 5 == 0
    return (images[~held_out], targets[~held_out]), (images[held_out], targets[held_out])


@FAMILIES.register("digits")
class Digits(Classifier):
    """MLPs 64-20-10 on scikit-learn's 1,797 digits: minibatch gradients, a held-out batch as x; optimum unknown.

    A sum over 64 images outweighs the prior p(T).  With p(T) as the guide's horizon the bound would lose 11 nats and
    every problem halt alike, so that this family infers T.

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
        super().__init__(lambda: mlp((64, *hidden, 10), activation), batch_size, observations)

    def load(self) -> tuple[Data, Data]:
        return read_digits()


@FAMILIES.register("digits-mixed")
class DigitsMixed(Digits):
    """Digits of mixed difficulty: one hidden layer of 2 to ``widest`` sigmoid units, log-uniform from net to net.

    Narrow networks have little to gain and stop early, wide ones late.
    """

    def __init__(self, widest: int = 32, batch_size: int = 64, observations: int = 64) -> None:
        check_range(self.label, at_least=2, widest=widest)
        self.widest = widest
        super().__init__((widest,), "sigmoid", batch_size, observations)

    def sample(self, num: int, generator: torch.Generator) -> Pruned:
        network = super().sample(num, generator)
        width = log_uniform_width(num, self.widest, generator)
        return prune(network, self._template, [width], torch.ones(num))


def bernoulli(logits: Tensor, pixels: Tensor) -> Tensor:
    """-log p of binary ``pixels (n, pixels)``, independent with probabilities sigmoid(logits), ``(n,)``."""
    return F.binary_cross_entropy_with_logits(logits, pixels, reduction="none").sum(-1)


def pixels_of(logits: Tensor) -> Distribution:
    """The density that ``bernoulli`` is -log of."""
    return Independent(Bernoulli(logits=logits), 1)


@FAMILIES.register("digits-autoencoder")
class DigitsAutoencoder(NetworkFamily):
    """Autoencoders 64-32-8-32-64 of the digits in black and white: minibatch gradients, a held-out batch as x.

    A pixel is 1 from half of the darkest value on, and Bernoulli under the network.  The loss of an image is -log p of
    its 64 pixels: 64 log 2 = 44.4 nats for a network that knows nothing.  Optimum unknown.  Data as in ``digits``.
    """

    recommended: ClassVar[Mapping[str, Any]] = {**Digits.recommended, "validation_problems": 8}

    def __init__(
        self,
        hidden: tuple[int, ...] = (32, 8, 32),
        activation: str = "tanh",
        batch_size: int = 64,
        observations: int = 64,
    ) -> None:
        super().__init__(
            lambda: mlp((64, *hidden, 64), activation),
            bernoulli,
            density=pixels_of,
            batch_size=batch_size,
            observations=observations,
        )

    def load(self) -> tuple[Data, Data]:
        train, held_out = ((images >= 0.5).to(images.dtype) for images, _ in read_digits())
        return (train, train), (held_out, held_out)
