"""Curves made by hand or of random numbers, and recipes that make such in no time."""

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


def curves_of(name: str, valid: object, test: object = None, train: object = None) -> Curves:
    """Of the rows given, which may be of different lengths; ``test`` and ``train`` are ``valid`` where not given."""
    rows = [np.asarray(row, np.float32) for row in valid]  # type: ignore[attr-defined]
    width = max(map(len, rows))

    def table(given: object) -> np.ndarray:
        found = np.full((len(rows), width), np.nan, np.float32)
        for row, values in zip(found, rows if given is None else given, strict=True):  # type: ignore[call-overload]
            row[: len(values)] = values
        return found

    num = len(rows)
    lengths = np.array([len(row) - 1 for row in rows])
    return Curves(name, table(train), table(valid), table(test), lengths, np.full(num, 100), [{}] * num)


def drawn_curves(name: str, num: int = 12, looks: int = 40, seed: int = 0, scale: float = 1.0) -> Curves:
    """Falls by power laws, some with overfitting, noise, a spike or an early end."""
    random = np.random.default_rng(seed)
    t = np.arange(looks + 1)
    rate, floor, over = random.uniform(0.3, 1.5, num), random.uniform(0.1, 0.5, num), random.uniform(0, 0.01, num)
    clean = floor[:, None] + (1 - floor)[:, None] * (t + 1.0) ** -rate[:, None]
    noise = 0.01 * random.standard_normal((3, num, looks + 1))
    valid, test = (clean + over[:, None] * np.maximum(t - 15, 0) + some for some in noise[:2])
    valid[0, 3] += 5.0
    ends = random.integers(looks // 2, looks + 1, num)
    cut = [[scale * row[: end + 1] for row, end in zip(table, ends, strict=True)] for table in (valid, test, clean)]
    return curves_of(name, *cut)
