"""The kinds of models whose training makes a curve; a new one is a class here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from probact.curves.data_sets.base import Points
from probact.curves.data_sets.texts_and_ratings import WINDOW
from probact.curves.knobs import Knobs, Split, pick, split
from probact.curves.training import Losses, train_together
from probact.problems.modules import Factors, Recurrent, Transformer, convolutional, perceptron
from probact.support.registry import Registry

ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.GELU, nn.Sigmoid, nn.SiLU)
LEAST_ODDS = 1e-6
"""Of a class, in the log loss of boosting: trees can be certain and wrong."""


class Runs(NamedTuple):
    """R runs of one group.

    :ivar num_valid: validation points.
    :ivar settings: one a run.
    """

    losses: Losses
    num_valid: int
    settings: list[dict[str, Any]]


class Kind(ABC):
    """A kind of model.

    :ivar takes: forms of the data sets that it learns.
    """

    name: ClassVar[str]
    takes: ClassVar[tuple[str, ...]]

    @abstractmethod
    def run(self, points: Points, knobs: Knobs, num: int, generator: np.random.Generator) -> Runs:
        """``num`` runs on parts of ``points``."""


KINDS: Registry[Kind] = Registry("kind of model", Kind)


class Network(Kind):
    """A kind that is trained by gradients.

    :ivar pace: times the usual rates.
    :ivar most: upper ends of what may be drawn: ``every``, ``batch``, ``valid_size``, for those that take long.
    :ivar most_test: test points.
    """

    pace: ClassVar[float] = 1.0
    most: ClassVar[dict[str, int]] = {}
    most_test: ClassVar[int] = 400

    @abstractmethod
    def draw(self, points: Points, generator: np.random.Generator) -> tuple[Callable[[], nn.Module], dict[str, Any]]:
        """What builds a network for such points, and its settings."""

    def targets(self, points: Points) -> Points:
        """The points with what is to be put out."""
        return points

    def run(self, points: Points, knobs: Knobs, num: int, generator: np.random.Generator) -> Runs:
        knobs = replace(knobs, **{name: min(limit, getattr(knobs, name)) for name, limit in self.most.items()})
        whole = self.targets(points)
        parts = split(whole, knobs, generator, self.most_test)
        make, shape = self.draw(whole, generator)
        rates = self.pace * knobs.rates(num, generator)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(generator.integers(2**31)))
            losses = train_together(make, parts, knobs, rates, generator)
        said = {**asdict(knobs), "train_size": len(parts.train.x), **shape}
        return Runs(losses, len(parts.valid.x), [{**said, "rate": float(f"{rate:.4g}")} for rate in rates])


@KINDS.register("mlp")
class MLP(Network):
    """A fully connected network of 1 to 3 hidden layers."""

    takes = ("classes", "values", "images")

    def draw(self, points: Points, generator: np.random.Generator) -> tuple[Callable[[], nn.Module], dict[str, Any]]:
        depth, width = pick(generator, (1, 1, 2, 3)), pick(generator, (8, 16, 32, 64))
        activation, normed = pick(generator, ACTIVATIONS), bool(generator.random() < 0.2)
        sizes = [points.x[0].numel(), *[width] * depth, points.outputs]
        said = {"depth": depth, "width": width, "activation": activation.__name__, "normed": normed}
        return lambda: perceptron(sizes, activation, normed), said


@KINDS.register("linear")
class Linear(Network):
    """Linear, logistic or softmax regression; with weight decay ridge regression."""

    takes = ("classes", "values")
    pace = 3.0

    def draw(self, points: Points, generator: np.random.Generator) -> tuple[Callable[[], nn.Module], dict[str, Any]]:
        return lambda: perceptron([points.x[0].numel(), points.outputs], nn.Identity), {}


@KINDS.register("cnn")
class CNN(Network):
    """Two convolutions and a linear layer."""

    takes = ("images",)
    most: ClassVar = {"every": 4, "batch": 32, "valid_size": 300}

    def draw(self, points: Points, generator: np.random.Generator) -> tuple[Callable[[], nn.Module], dict[str, Any]]:
        width = pick(generator, (4, 8))
        _, channels, side, _ = points.x.shape
        return lambda: convolutional(channels, side, width, points.outputs), {"width": width}


@KINDS.register("autoencoder")
class Autoencoder(Network):
    """Images through 2 to 16 numbers and back; label noise is noise on the pixels to be put out."""

    takes = ("images",)

    def targets(self, points: Points) -> Points:
        earlier = points.earlier and self.targets(points.earlier)
        return Points(points.x.flatten(1), points.x.flatten(1), earlier)

    def draw(self, points: Points, generator: np.random.Generator) -> tuple[Callable[[], nn.Module], dict[str, Any]]:
        width, code = pick(generator, (16, 32, 64)), pick(generator, (2, 4, 8, 16))
        sizes = [points.x.shape[1], width, code, width, points.outputs]
        return lambda: perceptron(sizes, nn.Tanh), {"width": width, "code": code}


@KINDS.register("gru")
class GRU(Network):
    """A recurrent network over characters."""

    takes = ("text",)
    pace = 2.0
    most: ClassVar = {"every": 4, "batch": 16, "valid_size": 200}
    most_test = 200

    def draw(self, points: Points, generator: np.random.Generator) -> tuple[Callable[[], nn.Module], dict[str, Any]]:
        width, outputs = pick(generator, (12, 24)), points.outputs
        return lambda: Recurrent(outputs, width), {"width": width}


@KINDS.register("transformer")
class TinyTransformer(Network):
    """One block of attention over characters."""

    takes = ("text",)
    pace = 2.0
    most: ClassVar = {"every": 4, "batch": 16, "valid_size": 200}
    most_test = 200

    def draw(self, points: Points, generator: np.random.Generator) -> tuple[Callable[[], nn.Module], dict[str, Any]]:
        width, outputs = pick(generator, (12, 24)), points.outputs
        return lambda: Transformer(outputs, width, WINDOW), {"width": width}


@KINDS.register("factorisation")
class Factorisation(Network):
    """A table as the product of two narrow ones."""

    takes = ("ratings",)
    pace = 5.0

    def draw(self, points: Points, generator: np.random.Generator) -> tuple[Callable[[], nn.Module], dict[str, Any]]:
        rank = pick(generator, (2, 4, 8, 16))
        rows, columns = (points.x.amax(0) + 1).tolist()
        return lambda: Factors(rows, columns, rank), {"rank": rank}


@KINDS.register("boosting")
class Boosting(Kind):
    """Gradient boosting, a look a round (Friedman, 2001; scikit-learn)."""

    takes = ("classes", "values")

    def run(self, points: Points, knobs: Knobs, num: int, generator: np.random.Generator) -> Runs:
        runs, settings = [], []
        for _ in range(num):
            parts = split(points, knobs, generator)
            own: dict[str, Any] = {
                "rate": float(f"{10 ** generator.uniform(-2, 0):.4g}"),
                "depth": pick(generator, (1, 2, 3, 5)),
                "subsample": pick(generator, (0.5, 1.0)),
            }
            runs.append(_boosted(parts, points.outputs, knobs.looks, int(generator.integers(2**31)), **own))
            said = {"looks": knobs.looks, "train_size": len(parts.train.x), "label_noise": knobs.label_noise}
            settings.append({**said, "valid_size": len(parts.valid.x), **own})
        return Runs(Losses(*map(np.stack, zip(*runs, strict=True))), len(parts.valid.x), settings)


def _boosted(parts: Split, classes: int, rounds: int, seed: int, rate: float, depth: int, subsample: float) -> Losses:
    """Look 0 is the frequencies of the classes, or the mean."""
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

    squares = parts.train.y.is_floating_point()
    x, y = parts.train.x.numpy(), parts.train.y.flatten().numpy()
    options = {"n_estimators": rounds, "learning_rate": rate, "max_depth": depth, "subsample": subsample}
    model = (GradientBoostingRegressor if squares else GradientBoostingClassifier)(**options, random_state=seed)
    model.fit(x, y)

    def losses(points: Points) -> NDArray[np.float64]:
        inputs, target = points.x.numpy(), points.y.flatten().numpy()
        if squares:
            said = [np.full(len(target), y.mean()), *model.staged_predict(inputs)]
            return np.array([((values - target) ** 2).mean() for values in said])
        odds = np.full((rounds + 1, len(target), classes), LEAST_ODDS)
        odds[0] = np.maximum(np.bincount(y, minlength=classes) / len(y), LEAST_ODDS)
        odds[1:, :, model.classes_] = np.maximum([*model.staged_predict_proba(inputs)], LEAST_ODDS)
        return -np.log(odds[:, np.arange(len(target)), target]).mean(1)

    train = losses(parts.train)
    train[0] = np.nan
    return Losses(train, losses(parts.valid), losses(parts.test))
