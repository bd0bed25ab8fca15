"""Curves made of random numbers, and recipes that make such in no time."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import NamedTuple

import numpy as np

from probact.curves.corpus import Curves
from probact.curves.recipes import TOGETHER


def some_curves(num: int = 3, looks: int = 4, name: str = "digits-mlp", seed: int = 0) -> Curves:
    """The first diverges two looks before the others end."""
    generator = np.random.default_rng((num, looks, seed))
    train, valid, test = generator.random((3, num, looks + 1), np.float32)
    train[:, 0] = np.nan
    lengths = np.full(num, looks)
    lengths[0] = looks - 2
    for table in (train, valid, test):
        table[0, looks - 1 :] = np.nan
    valid[0, looks - 2] = np.inf
    settings = [{"kind": "mlp", "seed": seed, "run": run} for run in range(num)]
    return Curves(name, train, valid, test, lengths, np.full(num, 20), settings)


def assert_same(one: Curves, other: Curves) -> None:
    assert (one.name, one.settings) == (other.name, other.settings)
    for a, b in zip(one[1:-1], other[1:-1], strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


class Toy(NamedTuple):
    """A recipe without training."""

    name: str = "toy"

    def group(self, seed: int, index: int) -> Curves:
        return some_curves(TOGETHER, 4 + index, self.name, seed)


class Deadly(NamedTuple):
    """One whose process is killed in group 1, ``times`` times."""

    folder: Path
    times: int
    name: str = "deadly"

    def group(self, seed: int, index: int) -> Curves:
        died = len(list(self.folder.glob("died-*")))
        if index == 1 and died < self.times:
            (self.folder / f"died-{died}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Toy(self.name).group(seed, index)
