"""A search in progress: a function that is known by its values, and the best of them so far."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from probact.problems.black_box import BlackBox
from probact.rules.plan import Plan
from probact.support.trees import Params, State, chosen, map_params
from probact.unrolling.walk import Carry, Proposed, Walk, advance


class Found(NamedTuple):
    """The rule's memory, and what stopping returns.

    :ivar of_rule: the rule's own.
    :ivar best: the query of the lowest y so far, theta_0 before the first.
    :ivar nll: there, ``(L,)``.
    :ivar lowest, highest: y so far, ``(L,)``; inf and -inf before the first.
    """

    of_rule: State
    best: Params
    nll: Tensor
    lowest: Tensor
    highest: Tensor


class Asked(NamedTuple):
    """The queries 1..K of a search, with their graph while it learns.

    :ivar queries: name -> ``(K, L, *shape)``.
    :ivar values: y, ``(K, L)``; of one that is not finite the worst before it.
    """

    queries: Params
    values: Tensor


class Search(Walk):
    """The walk of a rule that sees values alone: theta_t is query number t, y its value.

    ``nll`` and ``params`` are those of the query with the lowest y up to t: what stopping at t returns.  Where y is
    noisy this need not be the query with the lowest f.  A y that is not finite counts as the worst so far.
    """

    optimizee: BlackBox

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._y: Tensor | None = None
        self._asked: list[tuple[Params, Tensor]] = []

    def _init(self) -> Carry:
        carry = super()._init()
        with torch.no_grad():
            nll = self.optimizee.nll(carry.params)
        unknown = torch.full_like(nll, math.inf)
        return carry._replace(state=Found(carry.state, carry.params, nll, unknown, -unknown))

    @property
    def params(self) -> Params:
        """The query of the lowest y so far."""
        best: Params = self.carry.state.best
        return best

    @property
    def asked(self) -> Asked | None:
        """All queries of this walk; None before the first."""
        if not self._asked:
            return None
        queries, values = zip(*self._asked, strict=True)
        return Asked(map_params(lambda *some: torch.stack(some), *queries), torch.stack(values))

    def nll(self) -> Tensor:
        """-log p(x | theta) of what is returned at t, ``(L,)``."""
        if self._nll is None:
            self._nll, self._y = self._ask()
        return self._nll

    def _ask(self) -> tuple[Tensor, Tensor]:
        """nll of the best query so far, and y."""
        found: Found = self.carry.state
        if self.step == 0:
            return found.nll, torch.zeros_like(found.nll)
        query = self.carry.params
        value = self.optimizee.value(query)
        y, nll = self.optimizee.observe(value, self.step), self.optimizee.nll_of(value)
        usable = y.isfinite() & nll.isfinite()
        worst = torch.where(found.highest.isfinite(), found.highest, 0.0)
        y = torch.where(usable, y, worst)
        better = usable & (y < found.lowest)
        found = found._replace(
            best=chosen(better, query, found.best),
            nll=torch.where(better, nll, found.nll),
            lowest=torch.where(better, y, found.lowest),
            highest=torch.where(usable, torch.maximum(y, found.highest), found.highest),
        )
        self.carry = self.carry._replace(state=found)
        self._asked.append((query, y))
        return found.nll, y

    def _shown(self) -> tuple[Tensor, Params]:
        self.nll()
        assert self._y is not None
        return self._y, map_params(torch.zeros_like, self.carry.params)

    def _advance(self, carry: Carry, loss: Tensor, grads: Params, plan: Plan | None) -> tuple[Carry, Proposed]:
        found: Found = carry.state
        ahead, proposed = advance(self.rule, carry._replace(state=found.of_rule), loss, grads, plan)
        return ahead._replace(state=found._replace(of_rule=ahead.state)), proposed

    def keep(self, index: Tensor) -> None:
        super().keep(index)
        self._y, self._asked = None, []
