"""Tasks of ``unseen.py`` whose inputs or targets nobody scaled: tables and pixels as they are read."""

from __future__ import annotations

from collections.abc import Callable

import torch
from sklearn import datasets
from torch import nn
from unseen_data import Split, images, seeded, split, table
from unseen_models import classes, cnn, mlp, squares
from unseen_tasks import Task

AFFINE = 3e5


def as_read(pair: tuple[object, object], classes: bool = False) -> Split:
    """scikit-learn's pair X, y as it is: rows in another order."""
    X, y = torch.as_tensor(pair[0], dtype=torch.float32), torch.as_tensor(pair[1])
    order = torch.randperm(len(X), generator=seeded(1))
    return split(X[order], y.long()[order] if classes else y.float().unsqueeze(-1)[order])


def in_units(pair: Split, scale: Callable[[int], torch.Tensor], shift: float = 0.0) -> Split:
    """Features in other units, ``scale(columns)``, all of them ``shift`` of their own unit above 0."""
    (X, y), (held_out, labels) = pair
    unit = scale(X.shape[-1])
    return ((X + shift) * unit, y), ((held_out + shift) * unit, labels)


def priced(pair: Split, unit: float, shift: float) -> Split:
    """Targets in another unit."""
    (X, y), (held_out, targets) = pair
    return (X, unit * (y + shift)), (held_out, unit * (targets + shift))


def pixels(pair: Split) -> Split:
    """0 .. 255."""
    (x, y), (held_out, labels) = pair
    return (255 * x, y), (255 * held_out, labels)


def houses(num: int, seed: int) -> Split:
    """Columns as of a census, from shares to incomes, and prices of some 10^5."""
    generator = seeded(seed)
    z = torch.randn(num, 8, generator=generator)
    z[:, 1] = 0.7 * z[:, 0] + 0.7 * z[:, 1]
    X = (0.5 * z).exp() * torch.tensor([4e4, 1.2e3, 5.0, 1.0, 30.0, 0.1, 1.5e5, 3.0])
    value = 2e5 * (
        0.3 * z[:, 0] + 0.1 * z[:, 2] - 0.2 * z[:, 3] * z[:, 4] + 0.1 * torch.randn(num, generator=generator)
    )
    return split(X, (value + 2e5).unsqueeze(-1))


def cancer() -> Split:
    return as_read(datasets.load_breast_cancer(return_X_y=True), True)


def wine() -> Split:
    return as_read(datasets.load_wine(return_X_y=True), True)


def diabetes() -> Split:
    return as_read(datasets.load_diabetes(return_X_y=True, scaled=False))


def clusters(seed: int) -> Split:
    pair = datasets.make_classification(2500, 20, n_informative=8, n_classes=3, random_state=seed)
    return table(pair, classes=True)


def friedman(seed: int) -> Split:
    return table(datasets.make_friedman1(3000, 8, noise=1.0, random_state=seed))


def decades(columns: int) -> torch.Tensor:
    """From 1 to 10^5."""
    return torch.logspace(0, 5, columns)


def hundreds_of_thousands(columns: int) -> torch.Tensor:
    return torch.full((columns,), AFFINE)


RAW = [
    Task("raw-cancer-logistic", cancer, lambda: nn.Linear(30, 2), classes),
    Task("raw-cancer-by-32", cancer, lambda: mlp(30, 32, 2), classes, 32),
    Task("raw-wine-mlp", wine, lambda: mlp(13, 16, 3, activation=nn.Tanh), classes),
    Task("raw-wine-by-16", wine, lambda: mlp(13, 32, 3), classes, 16),
    Task("raw-diabetes-linear", diabetes, lambda: nn.Linear(10, 1), squares),
    Task("raw-diabetes-by-16", diabetes, lambda: mlp(10, 32, 1), squares, 16),
    Task("raw-houses-by-64", lambda: houses(4000, seed=40), lambda: mlp(8, 32, 32, 1), squares, 64),
    Task(
        "prices-by-32",
        lambda: priced(friedman(8), 1e4, 3.0),
        lambda: mlp(8, 32, 32, 1),
        squares,
        32,
    ),
    Task(
        "far-clusters-by-32",
        lambda: in_units(clusters(9), hundreds_of_thousands, 1.0),
        lambda: mlp(20, 32, 3),
        classes,
        32,
    ),
    Task("large-clusters", lambda: in_units(clusters(11), hundreds_of_thousands), lambda: nn.Linear(20, 3), classes),
    Task("mixed-clusters-by-32", lambda: in_units(clusters(10), decades), lambda: mlp(20, 32, 3), classes, 32),
    Task(
        "far-friedman-by-64",
        lambda: in_units(friedman(12), hundreds_of_thousands, 1.0),
        lambda: mlp(8, 32, 32, 1),
        squares,
        64,
    ),
    Task("large-friedman", lambda: in_units(friedman(13), hundreds_of_thousands), lambda: mlp(8, 24, 1), squares),
    Task("mixed-friedman-by-32", lambda: in_units(friedman(14), decades), lambda: mlp(8, 32, 1), squares, 32),
    Task("mixed-friedman", lambda: in_units(friedman(15), decades), lambda: nn.Linear(8, 1), squares),
    Task("pixels-mlp", lambda: pixels(images("cifar10", 2, centred=False)), lambda: mlp(768, 64, 10), classes, 64),
    Task(
        "pixels-cnn",
        lambda: pixels(images("fashion-mnist", 2, centred=False)),
        lambda: cnn((1, 8, 16), 14, norm=False),
        classes,
        64,
    ),
]
