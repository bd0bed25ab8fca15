"""A grid of runs in one folder: the same experiment with other settings, each from the same seeds.

::

    SWEEP/sweep.json            which settings vary, and over what
    SWEEP/<name=value,...>/     one run for each of their combinations
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from probact.runs.experiment import SETTINGS, Experiment, checked
from probact.runs.run import Chain, Run
from probact.support.files import write_atomically

FORMAT = "probact sweep 1"
FILE = "sweep.json"
SINGLE = ("seed", "device", "begin_with", "compiled")
"""What does not vary: seeds are chains of each run, the others say where and from what it is trained."""


@dataclass(frozen=True)
class Sweep:
    """Runs in one folder.

    :ivar varied: setting -> its values.
    """

    folder: Path
    varied: Mapping[str, Sequence[Any]]
    seeds: tuple[int, ...]

    @property
    def points(self) -> list[dict[str, Any]]:
        """The combinations, the last setting changing fastest."""
        return [dict(zip(self.varied, values, strict=True)) for values in itertools.product(*self.varied.values())]

    def folder_of(self, point: Mapping[str, Any]) -> Path:
        return self.folder / label(point)

    @property
    def runs(self) -> list[Run]:
        """One for each point.

        :raises ValueError: if one is not there or damaged.
        """
        return [Run.open(self.folder_of(point), to_train=True) for point in self.points]

    @property
    def chains(self) -> list[Chain]:
        """The trainings of all runs, seed by seed, so that a sweep cut short has a bit of each run."""
        return [chain for chains in zip(*(run.chains for run in self.runs), strict=True) for chain in chains]

    @classmethod
    def create(cls, folder: Path, varied: Mapping[str, Sequence[Any]], experiments: Sequence[Experiment],
               seeds: Sequence[int]) -> Self:  # fmt: skip
        """Make the folder, its runs and ``sweep.json``, which comes last.

        :param experiments: one for each point of the grid.
        :raises ValueError: if the folder already holds a sweep or a run of the same name.
        """
        sweep = cls(folder, varied, tuple(seeds))
        if (folder / FILE).exists():
            raise ValueError(
                f"{folder} already holds a sweep: continue it with --resume {folder}, or choose another --out"
            )
        if (folder / "experiment.json").exists():
            raise ValueError(f"{folder} already holds a run: choose another --out")
        for point, experiment in zip(sweep.points, experiments, strict=True):
            Run.create(sweep.folder_of(point), experiment, seeds)
        content = {"format": FORMAT, "varied": {name: list(of) for name, of in varied.items()}, "seeds": list(seeds)}
        write_atomically(folder / FILE, json.dumps(content, indent=2) + "\n")
        return sweep

    @classmethod
    def open(cls, folder: Path) -> Self:
        """:raises ValueError: if there is no readable sweep."""
        path = folder / FILE
        if not path.is_file():
            raise ValueError(f"{folder}: no sweep there (expected a folder with {FILE})")
        try:
            content = json.loads(path.read_text())
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']!r}")
            varied = {name: [checked(name, value) for value in values] for name, values in content["varied"].items()}
            return cls(folder, varied, tuple(checked("seed", seed) for seed in content["seeds"]))
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise ValueError(f"{path}: expected a {FORMAT}, got something else ({error})") from None


def label(point: Mapping[str, Any]) -> str:
    """Such as ``prior-nu=0.8,rule=lstm``: the name of its folder."""
    return ",".join(f"{name.replace('_', '-')}={value}" for name, value in point.items())


def values_of(name: str, text: str) -> tuple[Any, ...]:
    """What the text ``V,V,...`` means for the setting ``name``.

    :raises ValueError: if there is no such setting to vary, a value cannot be one, or one stands there twice.
    """
    choices = [key for key, one in SETTINGS.items() if key not in SINGLE and one.kind not in (dict, tuple)]
    if name not in choices:
        raise ValueError(f"expected a setting to vary, got {name!r}: choose from {', '.join(choices)}")
    values = tuple(SETTINGS[name].read(part.strip()) for part in text.split(","))
    if len(set(values)) < len(values):
        raise ValueError(f"{name.replace('_', '-')}: expected different values, got {text}")
    return values


def seeds_of(text: str) -> tuple[int, ...]:
    """``0..4`` or ``0,1,2`` as numbers.

    :raises ValueError: if it is neither, or one stands there twice.
    """
    first, dots, last = text.partition("..")
    try:
        seeds = tuple(range(int(first), int(last) + 1)) if dots else tuple(int(part) for part in text.split(","))
    except ValueError:
        seeds = ()
    if not seeds or len(set(seeds)) < len(seeds) or len(seeds) > 10_000:
        raise ValueError(f"expected seeds such as 0..4 or 0,1,2, all different, got {text!r}")
    return tuple(checked("seed", seed) for seed in seeds)
