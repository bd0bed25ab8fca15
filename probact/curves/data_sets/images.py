"""Images."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from probact.curves.data_sets.base import DATA_SETS, DataSet, Points

MOST_IMAGES = 6000


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
