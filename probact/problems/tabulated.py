"""Losses of models that were fitted on a grid of hyper-parameters, with values between by linear interpolation."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from probact.problems.base import Shared
from probact.problems.boxed import SHIFT, Boxed, BoxedFamily, Placing

TABLES = Path(__file__).with_name("tuning_tables.json")
"""Written by ``benchmarks/tuning_tables.py``: "family data" -> nested lists."""


class Axis(NamedTuple):
    """A hyper-parameter and the values that were tried, evenly spaced on the axis u in [0,1]."""

    name: str
    grid: tuple[float, ...]


class Fit(Protocol):
    """Fits the models: the loss at each of ``last``, the other hyper-parameters being ``values``."""

    def __call__(self, data: str, values: Sequence[float], last: Sequence[float]) -> list[float]: ...


@cache
def table(name: str) -> Tensor:
    """``(n_1, ..., n_d)``, as fitted."""
    return torch.tensor(json.loads(TABLES.read_text())[name], dtype=torch.float64)


def interpolated(tables: Tensor, which: Tensor, u: Tensor) -> Tensor:
    """Multilinear: of ``tables (m, n_1, ..., n_d)`` number ``which (L,)``, at ``u (..., L, d)`` in [0,1]."""
    sizes = tables.shape[1:]
    places = [u[..., axis].clamp(0, 1) * (size - 1) for axis, size in enumerate(sizes)]
    lower = [place.detach().floor().clamp_max(size - 2).long() for place, size in zip(places, sizes, strict=True)]
    share = [place - low for place, low in zip(places, lower, strict=True)]
    total = torch.zeros_like(u[..., 0])
    for corner in product((0, 1), repeat=len(sizes)):
        weight = torch.ones_like(total)
        for one, part in zip(corner, share, strict=True):
            weight = weight * (part if one else 1 - part)
        index = (which.expand_as(lower[0]), *(low + one for low, one in zip(lower, corner, strict=True)))
        total = total + weight * tables[index]
    return total


@dataclass(frozen=True)
class Tabulated(Boxed):
    """g is read off one of the ``tables``, number ``which (L,)``."""

    which: Tensor
    tables: Shared

    def raw(self, u: Tensor) -> Tensor:
        return interpolated(self.tables.tensors[0], self.which, u)

    def raw_lowest(self) -> Tensor:
        """At a corner of a cell, or where a side of the box cuts its edges: multilinear functions have it there."""
        placing = Placing(self.offset, self.slope)
        ends = torch.stack([placing(torch.zeros_like(self.offset)), placing(torch.ones_like(self.offset))])
        low, high = ends.amin(0), ends.amax(0)
        sizes = self.tables.tensors[0].shape[1:]
        axes = [torch.linspace(0, 1, size, dtype=low.dtype, device=low.device) for size in sizes]
        nodes = torch.stack([part.flatten() for part in torch.meshgrid(*axes, indexing="ij")], -1)
        return self.raw(nodes.unsqueeze(1).clamp(low, high)).amin(0)


class TabulatedFamily(BoxedFamily):
    """Losses of one kind of model on ``data_sets``; each problem is one of them, on 80 % of each axis of its grid."""

    name: ClassVar[str]
    inset = SHIFT
    kind = Tabulated
    axes: ClassVar[tuple[Axis, ...]]
    of_log: ClassVar[bool] = False
    """Whether g is the logarithm of what is in the table."""
    data_sets: ClassVar[tuple[str, ...]] = ("breast-cancer", "digits")

    def __init__(self, data: str = "all") -> None:
        if data not in (choices := (*self.data_sets, "all")):
            raise ValueError(f"{self.label}: expected data {' or '.join(choices)}, got {data!r}")
        self.data = data

    @staticmethod
    @abstractmethod
    def fit(data: str, values: Sequence[float], last: Sequence[float]) -> list[float]:
        """See ``Fit``."""

    def more(self, num: int, generator: torch.Generator) -> tuple[Any, ...]:
        names = self.data_sets if self.data == "all" else (self.data,)
        tables = torch.stack([table(f"{self.name} {name}") for name in names]).to(torch.get_default_dtype())
        tables = tables.log() if self.of_log else tables
        return torch.randint(len(names), (num,), generator=generator), Shared((tables,))
