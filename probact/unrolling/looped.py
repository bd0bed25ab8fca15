"""A computation in progress: a network that is asked for its answer after every step."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

from probact.rules.plan import Plan
from probact.support.trees import Params, State, map_params
from probact.unrolling import progress as progress_features
from probact.unrolling.step import Carry, Proposed, Seen, check_step
from probact.unrolling.walk import Walk


class Thought(NamedTuple):
    """The rule's memory, and what it told of the answer at hand.

    :ivar of_rule: the rule's own.
    :ivar features: of the step that led to theta_t, ``(L, F')``; 0 at theta_0.
    """

    of_rule: State
    features: Tensor


@functools.cache
def _told_by_no_loss(step: int) -> Tensor:
    """The features of progress at theta_step where every loss is 0, ``(1, 15)``: they count the steps."""
    signals = torch.zeros(progress_features.NUM_SIGNALS, 1)
    features, memory = progress_features.take_in(progress_features.init(signals[0]), signals)
    return progress_features.take_in(memory._replace(num_steps=signals[0] + step), signals)[0] if step else features


class Looped(Walk):
    """The walk of a rule that sees the input alone: theta_t is its answer after t steps.

    Its loss is known while it learns only; neither the rule nor the halting posterior ever sees it.  What the rule
    tells of a step is seen at the theta that the step led to: to halt at t, t steps are worked out and no more.
    """

    _nothing: tuple[Tensor, Params] | None = None

    def _init(self) -> Carry:
        carry = super()._init()
        like = next(iter(carry.params.values()))
        return carry._replace(state=Thought(carry.state, like.new_zeros(len(like), self.rule.num_features)))

    def _shown(self) -> tuple[Tensor, Params]:
        if self._nothing is None:
            answer = self.carry.params
            like = next(iter(answer.values()))
            self._nothing = like.new_zeros(len(like)), map_params(torch.zeros_like, answer)
        return self._nothing

    def _propose(self) -> tuple[Tensor, Params, Proposed]:
        loss, grads = self._shown()
        self._next = self._cut(self.carry)
        return loss, grads, Proposed(self._next.state.features, loss.expand(4, -1))

    def look(self) -> Seen:
        """What the rule told of the step that led here.  Progress, of no loss, is the same for all: one row of it."""
        loss, grads, proposed = self._propose()
        if not self.is_followed:
            return Seen(loss, grads, proposed.features)
        features = _told_by_no_loss(self.step).to(loss)
        return Seen(loss, grads, torch.cat([proposed.features, features.expand(len(loss), -1)], -1))

    def move(self) -> None:
        """Make the next step; what a ``look`` here took in goes along."""
        if self._next is None:
            self.look()
        assert self._next is not None
        loss, grads = self._shown()
        self._next, _ = self._advance(self._next, loss, grads, self._plan(loss))
        super().move()

    def _advance(self, carry: Carry, loss: Tensor, grads: Params, plan: Plan | None) -> tuple[Carry, Proposed]:
        """One step; an answer that is not finite is found by its loss."""
        state = carry.state.of_rule if plan is None else self.rule.told(carry.state.of_rule, plan)
        step = self.rule.step(grads, state, carry.params, loss)
        check_step(self.rule, step, carry.params)
        answer = map_params(torch.add, carry.params, step.update)
        ahead = Carry(answer, Thought(step.state, step.features), carry.progress, carry.alive)
        return ahead, Proposed(step.features, loss.expand(4, -1))

    def keep(self, index: Tensor) -> None:
        """As every walk, but for what is the same before and after a look, which is chosen once."""
        looked, self._next, self._nothing = self._next is not None, None, None
        super().keep(index)
        self._next = self._cut(self.carry) if looked else None
