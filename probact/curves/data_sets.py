"""The data sets that curves are trained on; a new one is a class here."""

from __future__ import annotations

import argparse
import difflib
import inspect
import tarfile
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from probact.support.registry import Registry

HELD_OUT = ("fashion-mnist", "cifar10", "wine", "waves", "friedman3", "python", "shifted-digits")
"""No head is trained on these: they are for judging."""

MOST_IMAGES = 6000
WINDOW = 16
"""Characters that a model of text reads at once."""


class Points(NamedTuple):
    """n points to learn from.

    :ivar x: ``(n, ...)``.
    :ivar y: int64 classes ``(n, ...)``, or float32 ``(n, d)``.
    :ivar earlier: what a network is trained on before its curve begins.
    """

    x: Tensor
    y: Tensor
    earlier: Points | None = None

    @property
    def outputs(self) -> int:
        """Numbers that a network puts out a point: of classes, or d."""
        return self.y.shape[-1] if self.y.is_floating_point() else int(self.y.max()) + 1

    def at(self, index: Tensor) -> Points:
        """The points of these indices."""
        return self._replace(x=self.x[index], y=self.y[index])


class DataSet(ABC):
    """Where points come from.

    :ivar form: ``classes`` or ``values`` (a table), ``images``, ``text`` or ``ratings``; kinds of models say what they
        take.
    """

    name: ClassVar[str]
    form: ClassVar[str]

    @abstractmethod
    def points(self, generator: np.random.Generator) -> Points:
        """All of them; a generated set is another one of its sort each time."""


DATA_SETS: Registry[DataSet] = Registry("data set", DataSet)


def _table(x: NDArray[np.float64], y: NDArray[np.generic]) -> Points:
    """Every column with mean 0 and standard deviation 1, targets too unless they are classes."""
    scaled = [(t - t.mean(0)) / (t.std(0) + 1e-8) for t in ((x,) if y.dtype.kind in "iu" else (x, y.reshape(-1, 1)))]
    inputs, *targets = (torch.from_numpy(table).float() for table in scaled)
    return Points(inputs, targets[0] if targets else torch.from_numpy(y).long())


@DATA_SETS.register("digits")
class Digits(DataSet):
    """Handwritten digits of 8 x 8 pixels (scikit-learn)."""

    form = "images"

    def points(self, generator: np.random.Generator) -> Points:
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return Points(torch.from_numpy((x - x.mean()) / x.std()).float().view(-1, 1, 8, 8), torch.from_numpy(y).long())


@DATA_SETS.register("shifted-digits")
class ShiftedDigits(Digits):
    """Fine-tuning: half of the digits first, then the other half, turned and with noise."""

    def points(self, generator: np.random.Generator) -> Points:
        whole = super().points(generator)
        order = torch.from_numpy(generator.permutation(len(whole.x)))
        first, rest = map(whole.at, order.chunk(2))
        noise = torch.from_numpy(generator.normal(size=rest.x.shape)).float()
        return Points(rest.x.rot90(1, (2, 3)) + generator.uniform(0.1, 0.6) * noise, rest.y, first)


@DATA_SETS.register("breast-cancer")
class BreastCancer(DataSet):
    """569 tumours, 30 measures each, two classes (scikit-learn)."""

    form = "classes"

    def points(self, generator: np.random.Generator) -> Points:
        from sklearn.datasets import load_breast_cancer

        return _table(*load_breast_cancer(return_X_y=True))


@DATA_SETS.register("iris")
class Iris(DataSet):
    """150 flowers, 4 measures each, three classes (scikit-learn)."""

    form = "classes"

    def points(self, generator: np.random.Generator) -> Points:
        from sklearn.datasets import load_iris

        return _table(*load_iris(return_X_y=True))


@DATA_SETS.register("wine")
class Wine(DataSet):
    """178 wines, 13 measures each, three classes (scikit-learn)."""

    form = "classes"

    def points(self, generator: np.random.Generator) -> Points:
        from sklearn.datasets import load_wine

        return _table(*load_wine(return_X_y=True))


@DATA_SETS.register("diabetes")
class Diabetes(DataSet):
    """442 patients, 10 measures each, progress of the illness (scikit-learn)."""

    form = "values"

    def points(self, generator: np.random.Generator) -> Points:
        from sklearn.datasets import load_diabetes

        return _table(*load_diabetes(return_X_y=True))


@DATA_SETS.register("clusters")
class Clusters(DataSet):
    """Clusters at the corners of a cube, 2 to 6 classes (scikit-learn's make_classification)."""

    form = "classes"
    flipped = (0.0, 0.1)
    separation = (1.0, 2.0)

    def points(self, generator: np.random.Generator) -> Points:
        from sklearn.datasets import make_classification

        informative = int(generator.integers(4, 10))
        x, y = make_classification(
            2500,
            informative + int(generator.integers(2, 50)),
            n_informative=informative,
            n_classes=int(generator.integers(2, 7)),
            flip_y=generator.uniform(*self.flipped),
            class_sep=generator.uniform(*self.separation),
            random_state=_seed(generator),
        )
        return _table(x, y)


@DATA_SETS.register("blurred-clusters")
class BlurredClusters(Clusters):
    """The same close to each other, and up to 40 % of the labels wrong."""

    flipped = (0.2, 0.4)
    separation = (0.4, 0.9)


@DATA_SETS.register("moons")
class Moons(DataSet):
    """Two half moons (scikit-learn)."""

    form = "classes"

    def points(self, generator: np.random.Generator) -> Points:
        from sklearn.datasets import make_moons

        noise, seed = generator.uniform(0.1, 0.4), _seed(generator)
        return _table(*make_moons(2500, noise=noise, random_state=seed))


@DATA_SETS.register("spirals")
class Spirals(DataSet):
    """Two to four spirals around each other (after Lang and Witbrock, 1988)."""

    form = "classes"

    def points(self, generator: np.random.Generator) -> Points:
        num, arms, turns = 2500, int(generator.integers(2, 5)), generator.uniform(0.5, 1.5)
        share, y = np.sqrt(generator.random(num)), generator.integers(arms, size=num)
        angle = 2 * np.pi * (turns * share + y / arms)
        x = share[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        return _table(x + generator.uniform(0.01, 0.06) * generator.normal(size=x.shape), y)


@DATA_SETS.register("rings")
class Rings(DataSet):
    """Three classes by the distance from the origin, in 2 to 8 dimensions."""

    form = "classes"

    def points(self, generator: np.random.Generator) -> Points:
        x = generator.normal(size=(2500, int(generator.integers(2, 9))))
        return _table(x, (np.linalg.norm(x, axis=1) * 1.5).astype(int) % 3)


@DATA_SETS.register("modular")
class Modular(DataSet):
    """a + b modulo p from one-hot a and b: test loss falls late, if at all (Power et al., 2022)."""

    form = "classes"

    def points(self, generator: np.random.Generator) -> Points:
        p = int(generator.choice([7, 11, 13]))
        a, b = np.divmod(np.arange(p * p), p)
        one_hot = np.eye(p)
        return _table(np.concatenate([one_hot[a], one_hot[b]], 1), (a + b) % p)


@DATA_SETS.register("parity")
class Parity(DataSet):
    """Whether 2 or 3 of 8 to 14 signs multiply to 1: a plateau before the fall (Barak et al., 2022)."""

    form = "classes"

    def points(self, generator: np.random.Generator) -> Points:
        x = generator.choice([-1.0, 1.0], size=(2500, int(generator.integers(8, 15))))
        return _table(x, (x[:, : int(generator.integers(2, 4))].prod(1) > 0).astype(int))


@DATA_SETS.register("friedman1")
class Friedman1(DataSet):
    """sin, square and linear terms of 5 out of 10 inputs (Friedman, 1991)."""

    form = "values"
    noise = (0.2, 3.0)

    def points(self, generator: np.random.Generator) -> Points:
        from sklearn.datasets import make_friedman1

        return _table(*make_friedman1(2500, noise=generator.uniform(*self.noise), random_state=_seed(generator)))


@DATA_SETS.register("friedman2")
class Friedman2(DataSet):
    """The impedance of a circuit (Friedman, 1991)."""

    form = "values"

    def points(self, generator: np.random.Generator) -> Points:
        from sklearn.datasets import make_friedman2

        return _table(*make_friedman2(2500, noise=generator.uniform(10, 300), random_state=_seed(generator)))


@DATA_SETS.register("friedman3")
class Friedman3(DataSet):
    """The phase of a circuit (Friedman, 1991)."""

    form = "values"

    def points(self, generator: np.random.Generator) -> Points:
        from sklearn.datasets import make_friedman3

        return _table(*make_friedman3(2500, noise=generator.uniform(0.05, 0.3), random_state=_seed(generator)))


@DATA_SETS.register("sparse")
class Sparse(DataSet):
    """Linear in a few out of 100 inputs, with noise (scikit-learn's make_regression)."""

    form = "values"

    def points(self, generator: np.random.Generator) -> Points:
        from sklearn.datasets import make_regression

        informative, noise = int(generator.integers(3, 20)), generator.uniform(5, 100)
        return _table(
            *make_regression(2500, 100, n_informative=informative, noise=noise, random_state=_seed(generator))
        )


@DATA_SETS.register("teacher")
class Teacher(DataSet):
    """What a random network of one hidden layer says, with noise."""

    form = "values"

    def points(self, generator: np.random.Generator) -> Points:
        inputs, hidden = int(generator.integers(5, 40)), int(generator.integers(3, 20))
        x, w = generator.normal(size=(2500, inputs)), generator.normal(size=(inputs, hidden))
        y = np.tanh(x @ w / 3) @ generator.normal(size=hidden)
        return _table(x, y + generator.uniform(0.1, 1) * generator.normal(size=len(y)))


@DATA_SETS.register("waves")
class Waves(DataSet):
    """sin(2 a) b + |c| of 3 out of 15 inputs, with noise."""

    form = "values"

    def points(self, generator: np.random.Generator) -> Points:
        x = generator.normal(size=(2500, 15))
        y = np.sin(2 * x[:, 0]) * x[:, 1] + np.abs(x[:, 2])
        return _table(x, y + generator.uniform(0.2, 0.8) * generator.normal(size=len(y)))


class Photographs(DataSet):
    """The first of an image set from the data directory, of half the size."""

    form = "images"

    def points(self, generator: np.random.Generator) -> Points:
        from probact.problems.data.sets import load

        pixels, labels = load(self.name).train
        x = F.avg_pool2d(pixels[:MOST_IMAGES].float(), 2)
        return Points((x - x.mean()) / x.std(), labels[:MOST_IMAGES])


@DATA_SETS.register("mnist")
class MNIST(Photographs):
    """6,000 handwritten digits, 14 x 14 pixels (data directory)."""


@DATA_SETS.register("fashion-mnist")
class FashionMNIST(Photographs):
    """6,000 pieces of clothing, 14 x 14 pixels (data directory)."""


@DATA_SETS.register("cifar10")
class CIFAR10(Photographs):
    """6,000 photographs in colour, 16 x 16 pixels (data directory)."""


class Text(DataSet):
    """Windows of a text: each character is to be told from those before it."""

    form = "text"

    @staticmethod
    def windows(characters: NDArray[np.int64]) -> Points:
        """``(n, WINDOW)``, and the same one character on."""
        num = len(characters) // (WINDOW + 1)
        windows = torch.from_numpy(characters[: num * (WINDOW + 1)].reshape(num, WINDOW + 1))
        return Points(windows[:, :-1], windows[:, 1:])


@DATA_SETS.register("markov")
class Markov(Text):
    """A text in which two characters decide on the odds of the next."""

    def points(self, generator: np.random.Generator) -> Points:
        size, length = int(generator.integers(6, 16)), 16000
        odds = generator.dirichlet(np.full(size, generator.uniform(0.1, 0.5)), size=(size, size)).cumsum(-1)
        odds[..., -1] = 1
        text, chance = [0, 1], generator.random(length)
        for position in range(length):
            text.append(int(np.searchsorted(odds[text[-2], text[-1]], chance[position])))
        return self.windows(np.array(text))


@DATA_SETS.register("python")
class PythonText(Text):
    """The text of three modules of Python's own library."""

    def points(self, generator: np.random.Generator) -> Points:
        text = "".join(map(inspect.getsource, (argparse, tarfile, difflib)))
        return self.windows(np.unique(list(text), return_inverse=True)[1][:40000])


@DATA_SETS.register("ratings")
class Ratings(DataSet):
    """A table of low rank with noise, a part of whose entries is seen."""

    form = "ratings"

    def points(self, generator: np.random.Generator) -> Points:
        rows, columns, rank = int(generator.integers(40, 80)), int(generator.integers(40, 80)), generator.integers(2, 7)
        table = generator.normal(size=(rows, rank)) @ generator.normal(size=(rank, columns)) / rank**0.5
        table += generator.uniform(0.1, 0.8) * generator.normal(size=table.shape)
        row, column = np.divmod(np.arange(rows * columns), columns)
        return Points(torch.from_numpy(np.stack([row, column], 1)), torch.from_numpy(table.reshape(-1, 1)).float())


def _seed(generator: np.random.Generator) -> int:
    return int(generator.integers(2**31))
