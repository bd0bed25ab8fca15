"""Training the head of a monitor on a folder of curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from probact.curves.corpus import Curves
from probact.curves.recipes import RECIPES
from probact.training.on_curves import Examples, usable, varied

VARIED = 3
"""Varied copies of each curve that a head is trained on beside it."""


def for_training(corpus: Iterable[Curves]) -> tuple[list[Curves], list[str]]:
    """Those that a head may be trained on, and the names of those that are held out.

    :raises ValueError: if all are.
    """
    kept, left_out = [], []
    for curves in corpus:
        if curves.name in RECIPES and RECIPES[curves.name].held_out:
            left_out.append(curves.name)
        else:
            kept.append(curves)
    if not kept:
        raise ValueError(f"expected curves to train on, got held-out ones alone: {', '.join(left_out)}")
    return kept, left_out


def examples_of(corpus: Sequence[Curves], seed: int) -> Examples:
    """Each curve and ``VARIED`` varied copies, half of which do not say how many validation points there are.

    :raises ValueError: if a data set has no curve that something can be learned of.
    """
    generator = np.random.default_rng(seed)
    parts = []
    for curves in corpus:
        if not usable(curves.valid, curves.test).any():
            raise ValueError(
                f"{curves.name}: expected curves with finite losses at the first two looks, and a first one other than "
                "0, got none"
            )
        points = curves.num_valid.astype(np.float64)
        parts.append(Examples.of(curves.valid, curves.test, points))
        for _ in range(VARIED):
            valid, test = varied(curves.valid, curves.test, generator)
            told = points * (generator.random(curves.num) < 0.5)
            if usable(valid, test).any():
                parts.append(Examples.of(valid, test, told))
    return Examples.joined(parts)
