"""How many steps a loop of one's own has: told at the start, or when it is to finish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from torch import Tensor

from probact.monitoring.reading import count
from probact.rules.plan import Plan


class Horizon(NamedTuple):
    """``left`` steps from step ``told_at`` on, where the factor of a step was ``share``, down to 0 on a line.

    :ivar total_steps: what was said at the start; 0: nothing.
    """

    told_at: int
    left: int
    share: float = 1.0
    total_steps: int = 0

    @classmethod
    def of(cls, total_steps: Any) -> Self | None:
        """Told at the start; None: nothing is told.

        :raises ValueError: unless it is a whole number >= 1.
        """
        if total_steps is None:
            return None
        total_steps = count("total_steps", total_steps)
        return cls(0, total_steps, total_steps=total_steps)

    @classmethod
    def ending(cls, horizon: Horizon | None, steps: Any, made: int) -> Self:
        """``steps`` from now on, after ``made``, from where ``horizon`` stands; from a whole one, if that is over.

        :raises ValueError: unless it is a whole number >= 1.
        """
        goes = horizon is not None and horizon.left_at(made) >= 1
        share = horizon.factor(made) if horizon is not None and goes else 1.0
        return cls(made, count("finish", steps), share, 0 if horizon is None else horizon.total_steps)

    @property
    def end(self) -> int:
        """How many steps are made by then."""
        return self.told_at + self.left

    def left_at(self, made: int) -> int:
        """Steps to go after ``made``; 0 or less when all are made."""
        return self.end - made

    def factor(self, made: int) -> float:
        """Of the next step; beyond the last one that of the last."""
        return self.share * max(self.left_at(made), 1) / self.left

    def plan(self, made: int, like: Tensor) -> Plan:
        """For a rule, ``like (1, ...)``."""
        total = like.new_full((1,), self.left / self.share)
        return Plan.of(total, total - self.left_at(made))


def to_state(horizon: Horizon | None) -> list[Any]:
    """Four numbers, of 0 steps where nothing was told."""
    return [0, 0, 1.0, 0] if horizon is None else list(horizon)


def of_state(saved: Sequence[Any], own: Horizon | None) -> Horizon | None:
    """What was saved; but ``own``, where that was told of another ``total_steps``: a run can be given more steps."""
    told_at, left, share, total_steps = saved
    if not left or (own is not None and own.total_steps != total_steps):
        return own
    return Horizon(int(told_at), int(left), float(share), int(total_steps))
