"""The user's box: points in the user's units outside, points of [0,1]^d inside."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from probact.support.refusals import said

NEAR = 2000
"""About so many cells around a query are looked at for one that was not asked."""
Bounds = Sequence[tuple[float, float]] | Mapping[str, tuple[float, float]]
Which = bool | Collection[bool | int | str]
"""Which axes: all or none, a truth value for each, or the names or places of some."""


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, str | bool) and math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


@dataclass(frozen=True)
class Axis:
    """One variable, ``low`` to ``high``, both included.

    A whole number n is the cell from n - 1/2 to n + 1/2, so that all have the same room on [0,1] (with ``log`` on the
    log scale).  A search sees a function that is the same in the whole cell.
    """

    name: str
    low: float
    high: float
    log: bool = False
    integer: bool = False

    def __post_init__(self) -> None:
        what = f"bounds of {self.name}: expected"
        if not (_is_number(self.low) and _is_number(self.high) and self.low < self.high):
            raise ValueError(f"{what} two finite numbers low < high, got ({self.low!r:.30}, {self.high!r:.30})")
        if self.log and self.low <= 0:
            raise ValueError(f"{what} low > 0 on a log axis, got {self.low:g}")
        if self.integer and (self.low % 1 or self.high % 1):
            raise ValueError(f"{what} whole numbers on an integer axis, got ({self.low:g}, {self.high:g})")

    @property
    def _ends(self) -> tuple[float, float]:
        half = 0.5 if self.integer else 0.0
        low, high = float(self.low) - half, float(self.high) + half
        return (math.log(low), math.log(high)) if self.log else (low, high)

    def outside(self, share: float) -> float | int:
        """The value at ``share`` in [0,1]."""
        low, high = self._ends
        value = low + share * (high - low)
        value = math.exp(value) if self.log else value
        if self.integer:
            return int(min(max(round(value), self.low), self.high))
        return float(min(max(value, self.low), self.high))

    def inside(self, value: float) -> float:
        """Where it lies on [0,1]; of a whole number the middle of its cell."""
        low, high = self._ends
        if self.integer:
            cell = (value - 0.5, value + 0.5)
            start, end = map(math.log, cell) if self.log else cell
            return ((start + end) / 2 - low) / (high - low)
        return ((math.log(value) if self.log else float(value)) - low) / (high - low)


def _chosen(option: str, which: Which, names: Sequence[str]) -> list[bool]:
    """Of each axis whether ``which`` means it."""
    if isinstance(which, bool):
        return [which] * len(names)
    given = [which] if isinstance(which, str) else list(which)
    if given and all(isinstance(one, bool) for one in given):
        if len(given) != len(names):
            raise ValueError(f"{option}: expected one truth value for each of {len(names)} axes, got {len(given)}")
        return [bool(one) for one in given]
    places: dict[int | str, int] = {name: place for place, name in enumerate(names)}
    places.update((place, place) for place in range(len(names)))
    if unknown := [one for one in given if isinstance(one, bool) or one not in places]:
        raise ValueError(f"{option}: expected axes out of {', '.join(names)}, or their places, got {unknown[0]!r:.40}")
    meant = {places[one] for one in given}
    return [place in meant for place in range(len(names))]


@dataclass(frozen=True)
class Box:
    """The axes, and whether points have names or places."""

    axes: tuple[Axis, ...]
    named: bool

    @classmethod
    def of(cls, bounds: Bounds, log: Which = False, integer: Which = False) -> Box:
        """:raises ValueError: if they are no bounds, or an axis is none of theirs."""
        if not isinstance(bounds, Mapping | Sequence) or isinstance(bounds, str):
            raise ValueError(
                f"bounds: expected a list of (low, high), or a dict name -> (low, high), got {said(bounds)}"
            )
        named = isinstance(bounds, Mapping)
        pairs: Iterable[Any] = bounds.values() if isinstance(bounds, Mapping) else bounds
        names = [str(name) for name in bounds] if named else [f"axis {place}" for place in range(len(bounds))]
        ends = []
        for name, pair in zip(names, pairs, strict=True):
            try:
                low, high = pair
            except (TypeError, ValueError):
                raise ValueError(f"bounds of {name}: expected (low, high), got {pair!r:.60}") from None
            ends.append((low, high))
        if not names:
            raise ValueError("bounds: expected those of one axis or more, got none")
        logs, integers = _chosen("log", log, names), _chosen("integer", integer, names)
        parts = zip(names, ends, logs, integers, strict=True)
        return cls(tuple(Axis(name, *pair, is_log, whole) for name, pair, is_log, whole in parts), named)

    @property
    def dim(self) -> int:
        """d."""
        return len(self.axes)

    @property
    def num_points(self) -> int | None:
        """How many there are in a box of whole numbers alone; None in another."""
        if not all(axis.integer for axis in self.axes):
            return None
        return math.prod(int(axis.high) - int(axis.low) + 1 for axis in self.axes)

    def num_told(self, places: Iterable[Sequence[float]]) -> int:
        """How many different points ``places`` of [0,1]^d are in the user's units."""
        return len({tuple(axis.outside(share) for axis, share in zip(self.axes, at, strict=True)) for at in places})

    def point(self, shares: Sequence[float]) -> Any:
        """In the user's units, a list or a dict, as the bounds were."""
        values = [axis.outside(share) for axis, share in zip(self.axes, shares, strict=True)]
        return {axis.name: value for axis, value in zip(self.axes, values, strict=True)} if self.named else values

    def shares(self, point: Any) -> list[float]:
        """The inverse of ``point``.

        :raises ValueError: unless it is a point of the box.
        """
        if self.named:
            names = {axis.name for axis in self.axes}
            if not isinstance(point, Mapping) or set(point) != names:
                raise ValueError(f"point: expected a dict of {', '.join(sorted(names))}, got {said(point)}")
            values = [point[axis.name] for axis in self.axes]
        else:
            try:
                values = list(point)
            except TypeError:
                raise ValueError(f"point: expected {self.dim} numbers, got {said(point)}") from None
            if len(values) != self.dim:
                raise ValueError(f"point: expected {self.dim} numbers, got {len(values)}")
        for axis, value in zip(self.axes, values, strict=True):
            if not _is_number(value) or not axis.low <= value <= axis.high or (axis.integer and value % 1):
                whole = "a whole number" if axis.integer else "a number"
                raise ValueError(f"{axis.name}: expected {whole} in [{axis.low:g}, {axis.high:g}], got {value!r:.40}")
        return [axis.inside(value) for axis, value in zip(self.axes, values, strict=True)]

    def within(self, shares: Sequence[float]) -> list[float]:
        """``shares`` within [0,1]; what is no number in the middle."""
        return [min(max(share, 0.0), 1.0) if share == share else 0.5 for share in shares]

    def fresh(self, shares: Sequence[float], places: Sequence[Sequence[float]]) -> list[float]:
        """``shares``; where all axes are of whole numbers, the middle of the nearest cell without one of ``places``.

        A search that is asked for whole numbers would else ask for the same ones again and again.
        """
        if not all(axis.integer for axis in self.axes):
            return list(shares)
        asked = [self.point(place) for place in places]
        if self.point(shares) not in asked:
            return list(shares)
        near = [self._near(axis, share) for axis, share in zip(self.axes, shares, strict=True)]
        free = (list(cell) for cell in product(*near) if self.point(cell) not in asked)
        return min(free, key=lambda cell: math.dist(cell, shares), default=list(shares))

    def _near(self, axis: Axis, share: float) -> list[float]:
        """The middles of the cells of an axis that are nearest to ``share``, fewer where there are many axes."""
        here, reach = axis.outside(share), max(1, int(NEAR ** (1 / self.dim)) // 2)
        low, high = max(int(axis.low), int(here) - reach), min(int(axis.high), int(here) + reach)
        return [axis.inside(value) for value in range(low, high + 1)]
