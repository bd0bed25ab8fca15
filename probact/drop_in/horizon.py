"""How many steps a loop of one's own has: told at the start, or when it is to finish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from torch import Tensor

from probact.rules.plan import Plan
from probact.support.refusals import said


class Horizon(NamedTuple):
    """``left`` steps from step ``told_at`` on, where the factor of a step was ``share``, down to 0 on a line."""

    told_at: int
    left: int
    share: float = 1.0

    @classmethod
    def of(cls, total_steps: int | None) -> Self | None:
        """Told at the start; None: nothing is told.

        :raises ValueError: unless it is a whole number >= 1.
        """
        return None if total_steps is None else cls(0, _whole("total_steps", total_steps))

    @classmethod
    def ending(cls, horizon: Horizon | None, steps: int, made: int) -> Self:
        """``steps`` from now on, after ``made``, from where ``horizon`` stands.

        :raises ValueError: unless it is a whole number >= 1.
        """
        return cls(made, _whole("finish", steps), 1.0 if horizon is None else horizon.factor(made))

    def left_at(self, made: int) -> int:
        """Steps to go after ``made``; 0 or less when all are made."""
        return self.left - (made - self.told_at)

    def factor(self, made: int) -> float:
        """Of the next step; beyond the last one that of the last."""
        return self.share * max(self.left_at(made), 1) / self.left

    def plan(self, made: int, like: Tensor) -> Plan:
        """For a rule, ``like (1, ...)``."""
        total = like.new_full((1,), self.left / self.share)
        return Plan.of(total, total - self.left_at(made))


def to_state(horizon: Horizon | None) -> list[Any]:
    """Three numbers, of 0 steps where nothing was told."""
    return [0, 0, 1.0] if horizon is None else list(horizon)


def of_state(saved: Sequence[Any], own: Horizon | None) -> Horizon | None:
    """What was saved; but ``own`` where both were told at the start, so that a run can be given more steps."""
    told_at, left, share = saved
    if not left or (own is not None and not own.told_at and not told_at):
        return own
    return Horizon(int(told_at), int(left), float(share))


def _whole(what: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{what}: expected a whole number of steps >= 1, got {said(value)}")
    return value
