"""A search in progress: a function that is known by its values, and the best of them so far."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from probact.problems.base import value_and_grad
from probact.problems.black_box import BlackBox
from probact.rules.base import STAND_IN_LOSS
from probact.rules.plan import Plan
from probact.support.trees import Params, State, chosen, finite, map_params
from probact.unrolling.step import Carry, Proposed, Seen, advance, zero_unless
from probact.unrolling.walk import Walk, attach


class Found(NamedTuple):
    """The rule's memory, what it is shown at theta_t, and what stopping there returns.

    :ivar of_rule: the rule's own.
    :ivar y: the value at theta_t, ``(L,)``; of one that is not finite the worst before it; 0 while there is none.
    :ivar best: the query of the lowest y so far, theta_0 before the first.
    :ivar nll: there, ``(L,)``.
    :ivar lowest, highest: y so far, ``(L,)``; inf and -inf before the first.
    :ivar first: the first y, ``(L,)``; 0 while there is none.
    """

    of_rule: State
    y: Tensor
    best: Params
    nll: Tensor
    lowest: Tensor
    highest: Tensor
    first: Tensor


class Asked(NamedTuple):
    """The queries 1..K of a search, with their graph while it learns.

    :ivar queries: name -> ``(K, L, *shape)``.
    :ivar values: y, ``(K, L)``, as ``Found`` has it.
    """

    queries: Params
    values: Tensor


class Search(Walk):
    """The walk of a rule that sees values alone: theta_t is query number t, y its value.

    ``nll`` and ``params`` are those of the query with the lowest y up to t: what stopping at t returns.  Where y is
    noisy this need not be the query with the lowest f.  A query is asked once, as ``move`` gets to it, and all that is
    known of it is in the carry.  While it learns, y is attached to its query by value and gradient, as every loss is.
    """

    optimizee: BlackBox

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._asked: list[tuple[Params, Tensor]] = []

    def _init(self) -> Carry:
        carry = super()._init()
        with torch.no_grad():
            nll = self.optimizee.nll(carry.params)
        unknown = torch.full_like(nll, math.inf)
        nll = torch.where(nll.isfinite(), nll, math.inf)
        found = Found(carry.state, torch.zeros_like(nll), carry.params, nll, unknown, -unknown, torch.zeros_like(nll))
        return carry._replace(state=found)

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
        """-log p(x | theta) of what is returned at t, ``(L,)``; inf where that is not finite."""
        nll: Tensor = self.carry.state.nll
        return nll

    def move(self) -> None:
        """Make the step that was worked out, and ask."""
        query = self.propose_query()
        if not self._learning:
            self.answer(self.optimizee.value(query))
            return
        value, grads = value_and_grad(self.optimizee.value, query)
        usable = finite([value.unsqueeze(-1), *grads.values()])
        self.answer(torch.where(usable, attach(value, zero_unless(usable, grads), query), torch.nan))

    def propose_query(self) -> Params:
        """Make the step that was worked out: the next query, name -> ``(L, *shape)``, which waits for its answer."""
        super().move()
        return self.carry.params

    def answer(self, value: Tensor, at: Params | None = None) -> None:
        """Take in f at the query that ``propose_query`` returned, ``(L,)``; not finite where it is not known.

        :param at: where f was really asked, if elsewhere; the rule is shown it as its query.
        """
        if at is not None:
            self.carry = self.carry._replace(params=at)
        query, found = self.carry.params, self.carry.state
        usable = value.isfinite()
        value = torch.where(usable, value, 0.0)
        y, nll = self.optimizee.observe(value, self.step), self.optimizee.nll_of(value)
        usable = usable & y.isfinite() & nll.isfinite()
        none = found.highest == -math.inf
        y = torch.where(usable, y, torch.where(none, 0.0, found.highest))
        better = usable & (y < found.lowest)
        first = torch.where(usable & none, y.detach(), found.first)
        found = found._replace(
            y=y,
            best=chosen(better, query, found.best),
            nll=torch.where(better, nll, found.nll),
            lowest=torch.where(better, y, found.lowest),
            highest=torch.where(usable, torch.maximum(y, found.highest), found.highest),
            first=first,
        )
        self.carry = self.carry._replace(state=found)
        self._asked.append((query, y))

    def _above_first(self, found: Found) -> Tensor:
        """y in nats above the first one, ``(L,)``, without graph: neither unit nor offset of f is seen by halting."""
        return self.optimizee.in_nats((found.y - found.first).detach())

    def _shown(self) -> tuple[Tensor, Params]:
        """As stop rules are told it, in nats; what is not known yet is no small loss."""
        found: Found = self.carry.state
        loss = torch.where(found.highest == -math.inf, STAND_IN_LOSS, self._above_first(found))
        return loss, map_params(torch.zeros_like, self.carry.params)

    def _advance(self, carry: Carry, loss: Tensor, grads: Params, plan: Plan | None) -> tuple[Carry, Proposed]:
        found: Found = carry.state
        ahead, proposed = advance(
            self.rule, carry._replace(state=found.of_rule), found.y, grads, plan, self.is_followed
        )
        ahead = ahead._replace(state=found._replace(of_rule=ahead.state))
        if not self.is_followed:
            return ahead, proposed
        signals = torch.cat([self._above_first(found).unsqueeze(0), proposed.signals[1:]])
        return ahead, proposed._replace(signals=signals)

    def look(self) -> Seen:
        seen = super().look()
        assert self._next is not None
        expected = self.rule.expects(self._next.state.of_rule)
        return seen if expected is None else seen._replace(expected=self.optimizee.in_nats(expected))

    def keep(self, index: Tensor) -> None:
        super().keep(index)
        self._asked = []
