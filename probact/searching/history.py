"""What was asked and told: all that a search under way is a function of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from probact.support.refusals import said


class Query(NamedTuple):
    """A point of [0,1]^d and the value that was told, in the user's unit."""

    place: tuple[float, ...]
    value: float


class History(NamedTuple):
    """The queries, and the point that was asked for and waits for its value."""

    queries: tuple[Query, ...] = ()
    pending: tuple[float, ...] | None = None

    @property
    def finite(self) -> list[Query]:
        """Those whose value is."""
        return [query for query in self.queries if math.isfinite(query.value)]

    def with_answer(self, query: Query) -> Self:
        """The same with one more, and nothing that waits."""
        return self._replace(queries=(*self.queries, query), pending=None)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; None for a value that is not finite."""
        return {
            "places": [list(query.place) for query in self.queries],
            "values": [query.value if math.isfinite(query.value) else None for query in self.queries],
            "pending": None if self.pending is None else list(self.pending),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What ``to_json`` gave."""
        values = (math.nan if value is None else float(value) for value in content["values"])
        places = (tuple(map(float, place)) for place in content["places"])
        pending = None if content["pending"] is None else tuple(map(float, content["pending"]))
        return cls(tuple(map(Query, places, values)), pending)


def checked_value(value: Any) -> float:
    """``value`` as a number, of a tensor or an array with one element too.

    :raises ValueError: if it is none.
    """
    try:
        if isinstance(value, str | bytes) or value is None:
            raise TypeError
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError(f"tell: expected a number, NaN for a query that failed, got {said(value)}") from None
