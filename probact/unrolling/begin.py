"""An unroll of any rule, begun: the walk that shows the rule what it sees."""

from __future__ import annotations

from typing import Any

from probact.problems.base import Optimizee
from probact.rules.base import UpdateRule
from probact.support.sight import Sight
from probact.unrolling.looped import Looped
from probact.unrolling.search import Search
from probact.unrolling.walk import Walk

WALKS: dict[Sight, type[Walk]] = {Sight.GRADIENT: Walk, Sight.VALUE: Search, Sight.INPUT: Looped}


def check_sight(rule: UpdateRule, optimizee: Optimizee) -> None:
    """:raises ValueError: unless the problems show what the rule sees."""
    if rule.sees not in optimizee.shows:
        shown = " or ".join(sight.value for sight in optimizee.shows)
        raise ValueError(
            f"{rule.label}: expected problems that show {rule.sees.value}, got {type(optimizee).__name__}, which shows "
            f"{shown}"
        )


def begin(rule: UpdateRule, optimizee: Optimizee, *args: Any, **kwargs: Any) -> Walk:
    """A ``Walk`` of ``rule``; the arguments are those of ``Walk``.

    :raises ValueError: unless the problems show what the rule sees, and if halting is to see x where the rule does not,
        or steps other than an optimizer's are to be compiled.
    """
    check_sight(rule, optimizee)
    walk = WALKS[rule.sees](rule, optimizee, *args, **kwargs)
    asked = {"looks": walk.unrolling.looks is not None, "compile": walk.unrolling.compiled}
    for name in (name for name, is_asked in asked.items() if is_asked and rule.sees is not Sight.GRADIENT):
        raise ValueError(f"{name}: expected a rule that sees its gradient, got {rule.label}: it sees {rule.sees.value}")
    return walk
