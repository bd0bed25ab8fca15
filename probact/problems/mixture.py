"""Several families as one, for optimizers that are to work on all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from probact.problems.base import FAMILIES, Optimizee, OptimizeeFamily


@FAMILIES.register("general")
class Mixture(OptimizeeFamily):
    """Each batch of problems is of one of ``members``, all equally often.

    A member is a family's name, with options after colons: ``mnist:hidden=20/20:activation=relu``.

    Validation is on all members, a run is judged on the first.  Losses of different families have different scales:
    it is for objectives that are free of it.
    """

    recommended: ClassVar[Mapping[str, Any]] = {
        "halting_first": True,
        "horizon": 50,
        "batch": 16,
        "lr": 5e-3,
        "validation_problems": 16,
    }

    def __init__(self, members: tuple[str, ...] = ("regression", "quadratic", "mixed", "digits-mixed")) -> None:
        named = [member.split(":") for member in members]
        if not members or self.name in (name for name, *_ in named):
            got = ", ".join(members) or "none"
            raise ValueError(f"family {self.name!r}: expected members among the other families, got {got}")
        if wrong := [option for _, *options in named for option in options if "=" not in option]:
            raise ValueError(f"family {self.name!r}: expected KEY=VALUE after a member's colon, got {wrong[0]!r}")
        self._members = tuple(
            FAMILIES.build(name, dict(option.replace("/", ",").split("=", 1) for option in options))
            for name, *options in named
        )

    @property
    def members(self) -> Sequence[OptimizeeFamily]:
        return self._members

    def sample(self, num: int, generator: torch.Generator) -> Optimizee:
        chosen = int(torch.randint(len(self.members), (), generator=generator))
        return self.members[chosen].sample(num, generator)
