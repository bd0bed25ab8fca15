"""Tasks of ``unseen.py``, in two groups that have no task in common: small modules and loops, a seed for each model.

``DEVELOPMENT`` is for choosing what the product does, ``VERDICT`` is judged once.  Neither has MNIST or scikit-learn's
digits, which the shipped optimizers were trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from sklearn import datasets
from torch import Tensor, nn
from unseen_data import (
    Rows,
    Split,
    adding,
    bags_of_words,
    between,
    classification,
    first,
    hidden_text,
    images,
    linear,
    markov_text,
    ratings,
    scaled,
    table,
    waves,
    words_text,
    wrong,
    zipf_bags,
)
from unseen_models import (
    VAE,
    Factors,
    Recurrent,
    ResidualMLP,
    Summary,
    Transformer,
    bag,
    classes,
    cnn,
    itself,
    mlp,
    oscillator,
    own,
    poisson,
    squares,
)


@dataclass(frozen=True)
class Task:
    """
    :ivar data: training rows and held-out rows.
    :ivar model: draws one; seed torch before.
    :ivar loss: mean loss of the model on rows.
    :ivar batch_size: rows drawn for a step, with replacement; 0: all of them.
    :ivar penalty: of the squares of all parameters, in the training loss alone.
    :ivar to_zero: whether the loss can go to 0, where weight decay would be in the way.
    """

    name: str
    data: Callable[[], Split]
    model: Callable[[], nn.Module]
    loss: Callable[..., Tensor]
    batch_size: int = 0
    penalty: float = 0.0
    to_zero: bool = False

    @property
    def full_batch(self) -> bool:
        return not self.batch_size

    def begin(self, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return self.model()

    def batch(self, generator: torch.Generator) -> Rows:
        rows, _ = read(self)
        if self.full_batch:
            return rows
        chosen = torch.randint(len(rows[0]), (self.batch_size,), generator=generator)
        return tuple(column[chosen] for column in rows)

    def training_loss(self, model: nn.Module, rows: Rows) -> Tensor:
        loss = self.loss(model, *rows)
        if self.penalty:
            loss = loss + self.penalty * sum((param**2).sum() for param in model.parameters())
        return loss

    def held_out_loss(self, model: nn.Module) -> float:
        """The model in evaluation mode, with the same noise for all."""
        _, rows = read(self)
        model.eval()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            loss = float(self.loss(model, *rows))
        model.train()
        return loss


@cache
def read(task: Task) -> Split:
    return task.data()


VERDICT = [
    Task(
        "friedman",
        lambda: table(datasets.make_friedman1(4000, 10, noise=1.0, random_state=0)),
        lambda: mlp(10, 64, 64, 1),
        squares,
        64,
    ),
    Task("fashion-vae", lambda: images("fashion-mnist", 2, centred=False), lambda: VAE(196, 64, 8), own, 64),
    Task("fashion-mlp", lambda: images("fashion-mnist"), lambda: mlp(784, 64, 10), classes, 128),
    Task("fashion-cnn", lambda: images("fashion-mnist", 2), lambda: cnn((1, 8, 16), 14, norm=True), classes, 64),
    Task("cifar-residual", lambda: images("cifar10", 2), lambda: ResidualMLP(768, 64, 3, 10), classes, 64),
    Task(
        "markov-transformer",
        lambda: markov_text(12, 16, 4000, seed=10),
        lambda: Transformer(12, 16, 32, 2, 2),
        classes,
        16,
    ),
    Task("words-gru", lambda: words_text(40, 16, 16, 3000, seed=11), lambda: Recurrent(16, 48), classes, 16),
    Task("ratings", lambda: ratings(200, 150, 4, 12000, 0.3, seed=12), lambda: Factors(200, 150, 6), squares, 128),
    Task("bag-of-words", lambda: bags_of_words(1000, 20, 6, 5000, seed=13), lambda: bag(1000, 16, 6), classes, 32),
    Task(
        "classes-by-4",
        lambda: table(datasets.make_classification(4000, 20, n_informative=8, n_classes=3, random_state=1), True),
        lambda: mlp(20, 32, 3, activation=nn.Tanh),
        classes,
        4,
    ),
    Task(
        "breast-cancer-logistic",
        lambda: table(datasets.load_breast_cancer(return_X_y=True), True),
        lambda: nn.Linear(30, 2),
        classes,
        penalty=1e-3,
    ),
    Task(
        "wine-mlp",
        lambda: table(datasets.load_wine(return_X_y=True), True),
        lambda: mlp(13, 16, 3, activation=nn.Tanh),
        classes,
        penalty=1e-3,
    ),
    Task("least-squares", lambda: linear(500, 1e4, 50, 0.0, seed=14), lambda: nn.Linear(50, 1), squares, to_zero=True),
    Task("poisson", lambda: between(-1, 1, 64), lambda: mlp(1, 20, 20, 1, activation=nn.Tanh), poisson, to_zero=True),
]

DEVELOPMENT = [
    Task(
        "moons",
        lambda: table(datasets.make_moons(2500, noise=0.2, random_state=2), True),
        lambda: mlp(2, 32, 32, 2, activation=nn.Tanh),
        classes,
        32,
    ),
    Task("waves", lambda: waves(3000, seed=20), lambda: mlp(2, 32, 32, 32, 32, 1, activation=nn.GELU), squares, 64),
    Task("cifar-cnn", lambda: images("cifar10", 2), lambda: cnn((3, 8, 16), 16, norm=False), classes, 64),
    Task("cifar-autoencoder", lambda: images("cifar10", 4), lambda: mlp(192, 64, 16, 64, 192), itself, 64),
    Task(
        "hidden-transformer",
        lambda: hidden_text(8, 12, 24, 4000, seed=21),
        lambda: Transformer(12, 24, 48, 4, 1),
        classes,
        16,
    ),
    Task("adding-lstm", lambda: adding(16, 5000, seed=22), lambda: Summary(2, 32), squares, 32),
    Task("completion", lambda: ratings(120, 100, 3, 8000, 0.1, seed=23), lambda: Factors(120, 100, 4), squares, 64),
    Task(
        "diabetes-by-4",
        lambda: table(datasets.load_diabetes(return_X_y=True)),
        lambda: mlp(10, 32, 1),
        squares,
        4,
    ),
    Task("linear-by-1", lambda: linear(2000, 30, 20, 0.3, seed=24), lambda: nn.Linear(20, 1), squares, 1),
    Task("ridge", lambda: linear(250, 100, 40, 0.5, seed=25), lambda: nn.Linear(40, 1), squares, penalty=1e-3),
    Task(
        "scaled-logistic",
        lambda: scaled(table(datasets.make_classification(1000, 20, n_informative=6, random_state=3), True), 0.01),
        lambda: nn.Linear(20, 2),
        classes,
        penalty=1e-4,
    ),
    Task(
        "diabetes-mlp",
        lambda: table(datasets.load_diabetes(return_X_y=True)),
        lambda: mlp(10, 16, 1, activation=nn.Tanh),
        squares,
        penalty=1e-2,
    ),
    Task(
        "oscillator",
        lambda: between(0, 3, 64),
        lambda: mlp(1, 20, 20, 2, activation=nn.Tanh),
        oscillator,
        to_zero=True,
    ),
    Task(
        "clusters-by-4",
        lambda: classification(4000, 16, 8, 4, seed=7),
        lambda: mlp(16, 32, 32, 4),
        classes,
        4,
    ),
    Task(
        "tanh-by-4",
        lambda: table(datasets.make_classification(4000, 24, n_informative=10, n_classes=4, random_state=7), True),
        lambda: mlp(24, 40, 4, activation=nn.Tanh),
        classes,
        4,
    ),
    # of few rows and wrong labels, which a network learns by heart; rare words; small tables
    Task(
        "few-fashion-mlp",
        lambda: first(wrong(images("fashion-mnist", 2), 0.15, 10, seed=26), 600),
        lambda: mlp(196, 64, 64, 10),
        classes,
        32,
    ),
    Task(
        "few-fashion-cnn",
        lambda: first(images("fashion-mnist", 2), 800),
        lambda: cnn((1, 16, 32), 14, norm=False),
        classes,
        64,
    ),
    Task(
        "noisy-classes-residual",
        lambda: wrong(classification(2500, 40, 10, 5, seed=4), 0.2, 5, seed=27),
        lambda: ResidualMLP(40, 48, 2, 5),
        classes,
        32,
    ),
    Task("zipf-bags", lambda: zipf_bags(2000, 15, 4, 4000, seed=28), lambda: bag(2000, 24, 4), classes, 32),
    Task(
        "zipf-ratings",
        lambda: zipf_bags(500, 10, 0, 5000, seed=29),
        lambda: nn.Sequential(nn.EmbeddingBag(500, 16), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1)),
        squares,
        64,
    ),
    Task(
        "iris-mlp",
        lambda: table(datasets.load_iris(return_X_y=True), True),
        lambda: mlp(4, 12, 3, activation=nn.Tanh),
        classes,
        penalty=1e-3,
    ),
    Task(
        "few-classes-mlp",
        lambda: classification(220, 15, 6, 3, seed=5),
        lambda: mlp(15, 16, 3),
        classes,
        penalty=1e-3,
    ),
    Task(
        "few-rows-logistic",
        lambda: classification(400, 30, 8, 2, seed=6),
        lambda: nn.Linear(30, 2),
        classes,
        penalty=1e-3,
    ),
]

GROUPS = {"development": DEVELOPMENT, "verdict": VERDICT}
