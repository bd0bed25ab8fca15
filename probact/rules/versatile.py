"""One optimizer for noisy and for exact gradients: it finds out which they are, and hands over to the rule for them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from probact.rules.base import RULES, Step, UpdateRule
from probact.rules.exactness import AGREES, is_visible, off
from probact.rules.fused import stepped
from probact.rules.plan import Plan
from probact.rules.subspace.rule import Subspace
from probact.rules.tensorwise.rule import Tensorwise
from probact.support.refusals import check_range
from probact.support.trees import Params, State, flatten, unflatten

LOOKS, PROBE = 3, 0.1
"""After so many looks it decides; until then it goes so much of the way, as what gradients foresee holds nearby."""
DOUBT, DOUBTS = 0.5, 3.0
"""In exact mode a look is in doubt where that share is larger on a short step; so many doubts in a row are too many."""
SHORT = 0.01
"""Of a step, in lengths of all parameters."""


class VersatileState(NamedTuple):
    """What it remembers; each ``(L,)`` but for ``(L, d)`` and the two rules' own.

    :ivar num_seen: looks so far; ``agreed``: at how many loss and gradients agreed, until it decides.
    :ivar is_exact: whether gradients are taken for exact; ``doubts``: looks in a row that say otherwise.
    :ivar first, loss: the first and the last one; ``grad``, ``update``: the last ones, ``(L, d)``, or () where all
        problems are known to be noisy.
    :ivar left: steps left, inf where nobody knows.
    :ivar noisy, exact: the two rules'; () where no problem needs it.
    """

    num_seen: Tensor
    agreed: Tensor
    is_exact: Tensor
    doubts: Tensor
    first: Tensor
    loss: Tensor
    grad: State
    update: State
    left: Tensor
    noisy: State
    exact: State


def _is_settled(state: VersatileState) -> bool:
    """Whether all problems are known to be noisy, for good; it may have been ``widened`` since."""
    return isinstance(state.grad, tuple) or bool(_are_noisy(state).all())


def _are_noisy(state: VersatileState) -> Tensor:
    """Which problems are known to be, ``(L,)``."""
    return (state.num_seen >= LOOKS) & ~state.is_exact


@RULES.register("versatile")
class Versatile(UpdateRule):
    """``Tensorwise`` for minibatches, ``Subspace`` with backtracking for exact gradients, told apart by what is seen.

    Over a short step an exact loss changes as its gradients foresee (``exactness.off``).  So the first two steps are
    short, and where both agree the gradients are exact.  A rule for exact gradients that meets noise later (a change of
    batches, dropout) gives way again.

    Exact gradients need no schedule, but a last step does: told that it is the last, it leads to the best iterate, as
    theta_t may be a trial of its line search.

    ``Tensorwise`` is trained apart, or here; ``Subspace`` is the rule as it begins.

    Features for halting: those of ``Tensorwise``, 0 where gradients are exact, and whether they are.
    """

    def __init__(self, hold: int = 4, decay: float = 0.0) -> None:
        """:param hold, decay: of ``Tensorwise``; exact gradients go without."""
        super().__init__()
        check_range(self.label, at_least=1, below=10_000, hold=hold)
        check_range(self.label, at_least=0, below=1, decay=decay)
        self.noisy = Tensorwise(hold=hold, decay=decay)
        self.exact = Subspace(first_share=10, backtrack=0.9)
        self.num_features = self.noisy.num_features + 1
        self.exact.requires_grad_(False)

    def init(self, params: Params) -> State:
        flat = flatten(params)
        zero, none = flat.new_zeros(len(flat)), torch.zeros_like(flat)
        return VersatileState(
            zero, zero, zero > 0, zero, zero, zero, none, none, zero + math.inf, self.noisy.init(params), ()
        )

    def forms(self, params: Params) -> Iterator[State]:
        first = self.init(params)
        exact = self.exact.init(params)
        yield from (first, first._replace(grad=(), update=()))
        yield from (first._replace(exact=exact), first._replace(noisy=(), exact=exact))

    def widened(self, state: State) -> State:
        if not _is_settled(state):
            return state
        zero = torch.cat([torch.zeros_like(part) for part in state.noisy.fast], 1)
        return state._replace(grad=zero, update=zero)

    def restarted(self, state: State, lost: Tensor, params: Params) -> State:
        noisy, exact = (
            part if part == () else rule.restarted(part, lost, params)
            for rule, part in ((self.noisy, state.noisy), (self.exact, state.exact))
        )
        state = state._replace(noisy=noisy, exact=exact)
        # the way back is no step of its own: nothing is foreseen of it
        return (
            state if _is_settled(state) else state._replace(update=torch.where(lost.unsqueeze(-1), 0.0, state.update))
        )

    def after_foreign_step(self, state: State, update: Params) -> State:
        noisy, exact = (
            part if part == () else rule.after_foreign_step(part, update)
            for rule, part in ((self.noisy, state.noisy), (self.exact, state.exact))
        )
        state = state._replace(noisy=noisy, exact=exact)
        return state if _is_settled(state) else state._replace(update=flatten(update).detach())

    @property
    def plans(self) -> bool:
        return True

    def is_still(self, state: State) -> bool:
        return _is_settled(state)

    def told(self, state: State, plan: Plan) -> State:
        state = state._replace(left=plan.left)
        return state if state.noisy == () else state._replace(noisy=self.noisy.told(state.noisy, plan))

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        if _is_settled(state):
            step = stepped(self.noisy, grads, state.noisy, params, loss)
            features = torch.cat([step.features, loss.new_zeros(len(loss), 1)], -1)
            return Step(step.update, state._replace(noisy=step.state, grad=(), update=()), features)
        return self._judge_and_step(grads, state, params, loss)

    def _judge_and_step(self, grads: Params, state: VersatileState, params: Params, loss: Tensor) -> Step:
        with torch.no_grad():
            now, begins, ends = self._judged(state, flatten(grads), flatten(params), loss)
        undecided = now.num_seen < LOOKS
        update, noisy = torch.zeros_like(now.update), state.noisy
        features = loss.new_zeros(len(loss), self.num_features)
        if noisy == () and bool(ends.any()):
            noisy = self.noisy.init(params)
        if noisy != ():
            step = stepped(self.noisy, grads, noisy, params, loss)
            shorter = torch.where(undecided, PROBE, 1.0).unsqueeze(-1)
            update, noisy = shorter * flatten(step.update), step.state
            if bool(undecided.any()):
                noisy = self.noisy.after_foreign_step(noisy, unflatten(update, params))
            features = torch.cat([step.features, features[:, -1:]], -1)
        exact = state.exact
        if bool(now.is_exact.any()):
            exact = self.exact.init(params) if exact == () else self.exact.restarted(exact, begins, params)
            step = self.exact.step(grads, exact, params, loss)
            exact, chosen = step.state, now.is_exact.unsqueeze(-1)
            made = flatten(step.update)
            if bool((now.left == 1).any()):
                to_best = exact.memory.trust.to_best + made.detach()  # from here: the step is taken off already
                made = torch.where((now.left == 1).unsqueeze(-1), to_best, made)
                exact = self.exact.after_foreign_step(exact, unflatten(made, params))
            update = torch.where(chosen, made, update)
            features = torch.where(chosen, torch.zeros_like(features), features)
            features = torch.cat([features[:, :-1], now.is_exact.to(features).unsqueeze(-1)], -1)
        if bool(now.is_exact.all()):
            noisy = ()
        if not bool(now.is_exact.any()):
            exact = ()
        now = now._replace(update=update.detach(), noisy=noisy, exact=exact)
        if bool(_are_noisy(now).all()):
            now = now._replace(grad=(), update=())
        return Step(unflatten(update, params), now, features)

    def _judged(
        self, state: VersatileState, grad: Tensor, flat: Tensor, loss: Tensor
    ) -> tuple[VersatileState, Tensor, Tensor]:
        """With this look taken in; which problems ``(L,)`` turn out exact now, and which not to be."""
        foreseen = 0.5 * ((grad + state.grad) * state.update).sum(-1)
        share = off(loss - state.loss, foreseen, foreseen.abs())
        moved = (state.update != 0).any(-1)
        num_seen = state.num_seen + 1
        agreed = state.agreed + ((share < AGREES) & moved)
        begins = (num_seen == LOOKS) & (agreed == LOOKS - 1)
        short = moved & (state.update.norm(dim=-1) < SHORT * flat.norm(dim=-1))
        first = torch.where(num_seen == 1, loss, state.first).abs()
        visible = is_visible(foreseen.abs(), loss, state.loss, first)
        doubts = torch.where(short & visible, torch.where(share > DOUBT, state.doubts + 1, 0.0), state.doubts)
        ends = state.is_exact & (doubts >= DOUBTS)
        is_exact = (state.is_exact | begins) & ~ends
        now = state._replace(num_seen=num_seen, agreed=agreed, is_exact=is_exact, doubts=doubts, first=first)
        return now._replace(loss=loss, grad=grad), begins, ends
