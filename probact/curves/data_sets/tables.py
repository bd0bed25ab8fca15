"""Tables: those of scikit-learn, and such as are generated afresh for each group of runs."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from probact.curves.data_sets.base import DATA_SETS, DataSet, Points

NUM = 2500
"""Points of a generated table."""


def _table(x: NDArray[np.float64], y: NDArray[np.generic]) -> Points:
    """Every column with mean 0 and standard deviation 1, targets too unless they are classes."""
    scaled = [(t - t.mean(0)) / (t.std(0) + 1e-8) for t in ((x,) if y.dtype.kind in "iu" else (x, y.reshape(-1, 1)))]
    inputs, *targets = (torch.from_numpy(table).float() for table in scaled)
    return Points(inputs, targets[0] if targets else torch.from_numpy(y).long())


class Shipped(DataSet):
    """A table that comes with scikit-learn."""

    def points(self, generator: np.random.Generator) -> Points:
        from sklearn import datasets

        return _table(*getattr(datasets, f"load_{self.name.replace('-', '_')}")(return_X_y=True))


@DATA_SETS.register("breast-cancer")
class BreastCancer(Shipped):
    """569 tumours, 30 measures each, two classes (scikit-learn)."""

    form = "classes"


@DATA_SETS.register("iris")
class Iris(Shipped):
    """150 flowers, 4 measures each, three classes (scikit-learn)."""

    form = "classes"


@DATA_SETS.register("wine")
class Wine(Shipped):
    """178 wines, 13 measures each, three classes (scikit-learn)."""

    form = "classes"


@DATA_SETS.register("diabetes")
class Diabetes(Shipped):
    """442 patients, 10 measures each, progress of the illness (scikit-learn)."""

    form = "values"


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
            NUM,
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


class Made(DataSet):
    """A table that scikit-learn makes.

    :ivar noise: range of its standard deviation.
    """

    noise: ClassVar[tuple[float, float]]

    def points(self, generator: np.random.Generator) -> Points:
        from sklearn import datasets

        make, noise = getattr(datasets, f"make_{self.name}"), generator.uniform(*self.noise)
        return _table(*make(NUM, noise=noise, random_state=_seed(generator)))


@DATA_SETS.register("moons")
class Moons(Made):
    """Two half moons (scikit-learn)."""

    form = "classes"
    noise = (0.1, 0.4)


@DATA_SETS.register("spirals")
class Spirals(DataSet):
    """Two to four spirals around each other (after Lang and Witbrock, 1988)."""

    form = "classes"

    def points(self, generator: np.random.Generator) -> Points:
        num, arms, turns = NUM, int(generator.integers(2, 5)), generator.uniform(0.5, 1.5)
        share, y = np.sqrt(generator.random(num)), generator.integers(arms, size=num)
        angle = 2 * np.pi * (turns * share + y / arms)
        x = share[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        return _table(x + generator.uniform(0.01, 0.06) * generator.normal(size=x.shape), y)


@DATA_SETS.register("rings")
class Rings(DataSet):
    """Three classes by the distance from the origin, in 2 to 8 dimensions."""

    form = "classes"

    def points(self, generator: np.random.Generator) -> Points:
        x = generator.normal(size=(NUM, int(generator.integers(2, 9))))
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
        x = generator.choice([-1.0, 1.0], size=(NUM, int(generator.integers(8, 15))))
        return _table(x, (x[:, : int(generator.integers(2, 4))].prod(1) > 0).astype(int))


@DATA_SETS.register("friedman1")
class Friedman1(Made):
    """sin, square and linear terms of 5 out of 10 inputs (Friedman, 1991)."""

    form = "values"
    noise = (0.2, 3.0)


@DATA_SETS.register("friedman2")
class Friedman2(Made):
    """The impedance of a circuit (Friedman, 1991)."""

    form = "values"
    noise = (10, 300)


@DATA_SETS.register("friedman3")
class Friedman3(Made):
    """The phase of a circuit (Friedman, 1991)."""

    form = "values"
    noise = (0.05, 0.3)


@DATA_SETS.register("sparse")
class Sparse(DataSet):
    """Linear in a few out of 100 inputs, with noise (scikit-learn's make_regression)."""

    form = "values"

    def points(self, generator: np.random.Generator) -> Points:
        from sklearn.datasets import make_regression

        informative, noise = int(generator.integers(3, 20)), generator.uniform(5, 100)
        return _table(*make_regression(NUM, 100, n_informative=informative, noise=noise, random_state=_seed(generator)))


@DATA_SETS.register("teacher")
class Teacher(DataSet):
    """What a random network of one hidden layer says, with noise."""

    form = "values"

    def points(self, generator: np.random.Generator) -> Points:
        inputs, hidden = int(generator.integers(5, 40)), int(generator.integers(3, 20))
        x, w = generator.normal(size=(NUM, inputs)), generator.normal(size=(inputs, hidden))
        y = np.tanh(x @ w / 3) @ generator.normal(size=hidden)
        return _table(x, y + generator.uniform(0.1, 1) * generator.normal(size=len(y)))


@DATA_SETS.register("waves")
class Waves(DataSet):
    """sin(2 a) b + |c| of 3 out of 15 inputs, with noise."""

    form = "values"

    def points(self, generator: np.random.Generator) -> Points:
        x = generator.normal(size=(NUM, 15))
        y = np.sin(2 * x[:, 0]) * x[:, 1] + np.abs(x[:, 2])
        return _table(x, y + generator.uniform(0.2, 0.8) * generator.normal(size=len(y)))


def _seed(generator: np.random.Generator) -> int:
    return int(generator.integers(2**31))
