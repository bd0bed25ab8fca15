"""What curves are made: a recipe is a data set and a kind of model that takes its form."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from probact.curves.corpus import Curves
from probact.curves.data_sets.base import DATA_SETS, HELD_OUT
from probact.curves.kinds import KINDS
from probact.curves.knobs import Knobs
from probact.support.threads import use_threads

TOGETHER = 25
"""Runs of a group, which have all but rate, first weights and minibatches in common."""


class Recipe(NamedTuple):
    """``data_set`` and ``kind`` are names of ``DATA_SETS`` and ``KINDS``."""

    data_set: str
    kind: str

    @property
    def name(self) -> str:
        """As it is asked for, and its file is called."""
        return f"{self.data_set}-{self.kind}"

    @property
    def held_out(self) -> bool:
        """Whether no head may be trained on it."""
        return self.data_set in HELD_OUT

    def group(self, seed: int, index: int) -> Curves:
        """``TOGETHER`` curves: a function of these numbers alone, up to how a machine rounds.

        :raises ValueError: if the data set is not to be had.
        """
        generator = np.random.default_rng((zlib.crc32(self.name.encode()), seed, index))
        points = DATA_SETS.build(self.data_set).points(generator)
        use_threads(0, asked=1)  # several add in another order
        runs = KINDS.build(self.kind).run(points, Knobs.draw(generator), TOGETHER, generator)
        of_group = {"kind": self.kind, "seed": seed, "group": index}
        settings = [{**of_group, "run": run, **said} for run, said in enumerate(runs.settings)]
        train, valid, test, lengths = runs.losses.ended()
        return Curves(self.name, train, valid, test, lengths, np.full(TOGETHER, runs.num_valid), settings)


RECIPES = {
    recipe.name: recipe
    for data_set in DATA_SETS
    for kind in KINDS
    if DATA_SETS[data_set].form in KINDS[kind].takes
    for recipe in (Recipe(data_set, kind),)
}
"""All of them by name."""


def chosen(names: Sequence[str]) -> list[Recipe]:
    """The recipes of these names, ``training`` and ``held-out`` standing for those; all if there is none.

    :raises ValueError: on a name that there is not.
    """
    groups = {"training": False, "held-out": True}
    found = []
    for name in names or groups:
        if name not in RECIPES and name not in groups:
            raise ValueError(f"unknown set {name!r}: choose from {', '.join((*groups, *RECIPES))}")
        of_name = [RECIPES[name]] if name in RECIPES else [r for r in RECIPES.values() if r.held_out == groups[name]]
        found += [recipe for recipe in of_name if recipe not in found]
    return found
