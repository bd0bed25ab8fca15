"""Texts, and a table of ratings."""

from __future__ import annotations

import argparse
import difflib
import inspect
import tarfile

import numpy as np
import torch
from numpy.typing import NDArray

from probact.curves.data_sets.base import DATA_SETS, DataSet, Points

WINDOW = 16
"""Characters that a model of text reads at once."""


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
