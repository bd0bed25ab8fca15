"""An unroll in progress, a step at a time: what training, evaluation and use have in common."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from probact.problems.base import Optimizee, check_problems, value_and_grad
from probact.rules.base import UpdateRule
from probact.rules.plan import Plan
from probact.support.trees import Params, detach, map_params, map_state, per_problem
from probact.unrolling import looks as looks_at_x, progress as progress_features
from probact.unrolling.step import Carry, Proposed, Seen, advance, all_finite, all_of, init, see, zero_unless


def attach(nll: Tensor, grads: Params, params: Params) -> Tensor:
    """``nll (L,)`` with gradient ``grads`` with respect to ``params``, without the graph that computed it."""
    if torch.compiler.is_compiling():
        zero = map_params(lambda tensor, grad: (grad * (tensor - tensor.detach())).flatten(1).sum(1), params, grads)
        return nll + torch.stack([*zero.values()]).sum(0)
    attached: Tensor = _Attached.apply(nll, tuple(grads.values()), *params.values())
    return attached


class _Attached(torch.autograd.Function):
    """``attach`` as one node."""

    @staticmethod
    def forward(context: Any, nll: Tensor, grads: Sequence[Tensor], *params: Tensor) -> Tensor:  # type: ignore[override]
        context.grads = grads
        return nll.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, d_nll: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return None, None, *(per_problem(d_nll, grad) * grad for grad in context.grads)


class Unrolling(NamedTuple):
    """How an unroll is made and differentiated.

    :ivar truncate: truncated backpropagation: cut the graph after every so many steps; None keeps it whole.
    :ivar through_path: keep the path of theta in the graph (DeepMind), or cut it at every step, so that a loss
        teaches only the step that led to it and, through the rule's memory, those before (the prior code).
    :ivar recompute: keep no graph, and work the steps out again when the gradient is asked for: the same gradient in
        the memory of ``truncate`` steps, or without truncation of ~2 sqrt(K) steps, for one more forward pass.
    :ivar compiled: fuse the steps by ``torch.compile`` where a gradient is wanted; not with ``recompute``.
    :ivar by_segment: see ``Objective.unrolls``.
    :ivar looks: how halting sees x; None: not at all, but where the rule descends nll.
    :ivar whole: whether the losses between the first and the last theta are worked out; else they are as the first.
    :ivar total_steps: how many steps a rule that ``plans`` is told that there are; None: it is told nothing.
    """

    truncate: int | None = None
    through_path: bool = False
    recompute: bool = False
    compiled: bool = False
    by_segment: bool = False
    looks: looks_at_x.Looks | None = None
    whole: bool = True
    total_steps: int | None = None


DEFAULT_UNROLLING = Unrolling()


class Walk:
    """An unroll in progress: ``nll`` and ``look`` at theta_t, then ``move`` to theta_{t+1}.

    In gradient mode (and if the rule has weights) all carry gradients to the rule's weights.  The optimizee's
    gradient is an input without graph, as in Andrychowicz et al. 2016 (no second derivatives), so that the optimizee's
    own graph is freed at once: a loss is attached to theta_t by its value and gradient.

    :param carry, step: where to begin; by default at theta_0.
    :param known: nll and its gradient there, if they have been worked out.
    :param unrolling: of it ``truncate``, ``through_path`` and ``looks``.
    :ivar is_followed: whether halting sees what is told of the steps; else what only halting sees is not worked out.
    :ivar teaches: whether a problem also counts as diverged where its gradient is not finite; by default in gradient
        mode.
    """

    def __init__(
        self,
        rule: UpdateRule,
        optimizee: Optimizee,
        carry: Carry | None = None,
        step: int = 0,
        known: tuple[Tensor, Params] | None = None,
        unrolling: Unrolling = DEFAULT_UNROLLING,
    ) -> None:
        self.rule = rule
        self.optimizee = optimizee
        self.unrolling = unrolling
        self.step = step
        if carry is None:
            check_problems(optimizee)
        self.carry = carry or self._init()
        self._learning = torch.is_grad_enabled() and any(weight.requires_grad for weight in rule.parameters())
        self.teaches = self._learning
        self.known = known
        self._next: Carry | None = None
        self._nll: Tensor | None = None
        self._looked: looks_at_x.LookMemory | None = None
        self.is_followed = True

    def _init(self) -> Carry:
        return init(self.rule, self.optimizee.theta0, self.optimizee.given())

    @property
    def params(self) -> Params:
        """theta_t, or what else stopping at t returns."""
        return self.carry.params

    def nll(self) -> Tensor:
        """-log p(x | theta_t), ``(L,)``; inf where the problem diverged."""
        params, alive = self.carry.params, self.carry.alive
        if self._learning or not self.optimizee.stochastic:
            self.known = nll, grads = value_and_grad(self.optimizee.nll, params)
        else:
            with torch.no_grad():
                nll, grads = self.optimizee.nll(params), {}
        finite = alive & all_finite(nll, grads if self.teaches else {})
        if not all_of(finite):
            nll, grads = torch.where(finite, nll, math.inf), zero_unless(finite, grads)
        self._nll = attach(nll, grads, params) if self._learning else nll
        return self._nll

    def look(self) -> Seen:
        """Take in loss and gradient at theta_t and work out the next step."""
        looks = self.unrolling.looks
        if looks is None:
            loss, grads, proposed = self._propose()
            assert self._next is not None
            if not self.is_followed:
                return Seen(loss, grads, proposed.features)
            seen, self._next = see(loss, grads, proposed, self._next)
            return seen
        nll = (self.nll() if self._nll is None else self._nll).detach()
        loss, grads, proposed = self._propose()
        assert self._next is not None
        in_prices = progress_features.in_prices(proposed.signals, looks.price)
        seen, self._next = see(nll, grads, proposed._replace(signals=in_prices), self._next)
        of_x, self._looked = looks_at_x.take_in(self._looked or looks_at_x.init(nll), nll, looks.price)
        return seen._replace(features=torch.cat([seen.features, of_x], -1))

    def propose(self) -> Proposed:
        """``look`` for those who see the whole unroll before they need its features (``Progress.of_unroll``)."""
        return self._propose()[-1]

    def _propose(self) -> tuple[Tensor, Params, Proposed]:
        loss, grads = self._shown()
        self._next, proposed = self._advance(self._cut(self.carry), loss, grads, self._plan(loss))
        return loss, grads, proposed

    def _plan(self, loss: Tensor) -> Plan | None:
        total = self.unrolling.total_steps
        return None if total is None else Plan.of(torch.full_like(loss, total), self.step)

    def _shown(self) -> tuple[Tensor, Params]:
        """Loss and gradient at theta_t as the rule sees them."""
        if self.optimizee.stochastic:
            return value_and_grad(partial(self.optimizee.loss, step=self.step), self.carry.params)
        return self.known or value_and_grad(self.optimizee.nll, self.carry.params)

    def _cut(self, carry: Carry) -> Carry:
        truncate = self.unrolling.truncate
        if self._learning and truncate and self.step and self.step % truncate == 0:
            return carry._replace(state=map_state(Tensor.detach, carry.state), params=detach(carry.params))
        return carry if self.unrolling.through_path else carry._replace(params=detach(carry.params))

    def _advance(self, carry: Carry, loss: Tensor, grads: Params, plan: Plan | None) -> tuple[Carry, Proposed]:
        return advance(self.rule, carry, loss, grads, plan, self.is_followed)

    def move(self) -> None:
        """Make the step that the last ``look`` worked out (looks now if there was none)."""
        if self._next is None:
            self.look()
        assert self._next is not None
        self.carry, self._next, self.known, self._nll = self._next, None, None, None
        self.step += 1

    def keep(self, index: Tensor) -> None:
        """Go on with the problems at ``index`` (int64) alone; they go on as if the others were there."""
        self.optimizee = self.optimizee.select(index)

        def chosen(tensor: Tensor) -> Tensor:
            return tensor.index_select(0, index)

        self.carry = map_state(chosen, self.carry)
        self._next = None if self._next is None else map_state(chosen, self._next)
        self._looked = None if self._looked is None else map_state(chosen, self._looked)
        self.known = self._nll = None


def rows(walk: Walk, num: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Loss ``(L,)``, the rule's features and the signals at ``num`` thetas from here on; ends at the last one's."""
    first = nll = walk.nll()
    for row in range(num):
        if row:
            walk.move()
            nll = walk.nll() if walk.unrolling.whole or row == num - 1 else first.detach()
        yield nll, *walk.propose()
