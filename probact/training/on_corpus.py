"""Training the head of a monitor on a folder of curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from probact.curves.corpus import Curves
from probact.curves.recipes import RECIPES
from probact.training.on_curves import Examples, varied

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
    """Each curve and ``VARIED`` varied copies, half of which do not say how many validation points there are."""
    generator = np.random.default_rng(seed)
    parts = []
    for curves in corpus:
        points = curves.num_valid.astype(np.float64)
        parts.append(Examples.of(curves.valid, curves.test, points))
        for _ in range(VARIED):
            valid, test = varied(curves.valid, curves.test, generator)
            parts.append(Examples.of(valid, test, points * (generator.random(curves.num) < 0.5)))
    return Examples.joined(parts)
