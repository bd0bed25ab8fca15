"""A safeguard that any rule can wear: back to the best iterate, with shorter steps, when the loss gets lost."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from probact.rules.base import Step, UpdateRule
from probact.rules.harm import Losses
from probact.support.trees import Params, State, map_params, map_state, per_problem

SHRINK, GROW, LEAST_SHORTENING = 0.5, 1.02, 1e-9
"""Factors of the shortening, and its lower end."""


class Guard(NamedTuple):
    """What the safeguard remembers beside the wrapped rule's ``state``; all but ``best_params`` without graph.

    :ivar best_params: theta*, name -> ``(L, *shape)``.
    :ivar losses: what has been seen, and the verdict on the last look.
    :ivar shortening: rho, ``(L,)``.
    """

    state: State
    best_params: Params
    losses: Losses
    shortening: Tensor
    tries: Tensor


class Safeguarded(UpdateRule):
    """``rule``, which goes back to the best iterate when the loss gets lost, and from there on with shorter steps.

    With u_t what the wrapped rule proposes at theta_t, theta* the best iterate, and what the loss there is by
    ``harm.Losses``, for each problem apart::

        high for the first time:  theta_{t+1} = theta_t, and the wrapped rule forgets this look
        lost:                     theta_{t+1} = theta*, and the wrapped rule starts afresh
        else:                     theta_{t+1} = theta_t + rho u_t
                                  with rho <- rho / 2 if the verdict at theta* is harm, else min(1, 1.02 rho)

    The shortening rho starts at 1: a rule that is never lost is not changed by a bit.  An update that is not finite
    counts as a loss that is not, and so does, in ``walk.advance``, a gradient.  One bad minibatch costs one step.

    The best is a bound on what has been looked at.  The iterate after the last look has not been: see ``settled``.
    Adding theta* - theta_t rounds, so that from 1e8 away it takes two steps.
    """

    recovers: ClassVar[bool] = True

    def __init__(self, rule: UpdateRule) -> None:
        super().__init__()
        self.rule: UpdateRule = rule
        self.num_features = rule.num_features

    def init(self, params: Params) -> State:
        like = next(iter(params.values()))
        zero = like.new_zeros(len(like))
        return Guard(self.rule.init(params), params, Losses.init(zero), zero + 1, zero)

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        proposed = self.rule.step(grads, state.state, params, loss)
        finite = torch.stack([u.detach().isfinite().flatten(1).all(1) for u in proposed.update.values()]).all(0)
        losses = state.losses.take_in(torch.where(finite, loss.detach(), math.inf))
        tries = torch.where(losses.is_best & ~losses.is_harm, 0.0, state.tries + losses.is_harm)
        rho = torch.where(losses.is_harm, SHRINK ** tries.clamp_max(2), GROW) * state.shortening
        guard = Guard(
            proposed.state,
            _where(losses.is_best, params, state.best_params),
            losses,
            torch.where(losses.is_high, state.shortening, rho.clamp(LEAST_SHORTENING, 1.0)),
            tries,
        )
        if not bool((guard.shortening == 1).all()):  # a shortening of 1 changes nothing
            proposed = proposed._replace(
                update=map_params(lambda u: per_problem(guard.shortening, u) * u, proposed.update)
            )
        if bool(losses.is_high.any()):
            back = map_params(torch.sub, guard.best_params, params)
            back = _where(losses.is_lost, back, map_params(torch.zeros_like, back))
            restarted = _where(losses.is_lost, self.rule.init(params), state.state)
            proposed = proposed._replace(update=_where(losses.is_high, back, proposed.update))
            guard = guard._replace(state=_where(losses.is_high, restarted, proposed.state))
        return proposed._replace(state=guard)

    @staticmethod
    def settled(guard: Guard, params: Params) -> Params:
        """Where to end: ``params`` that were last looked at, or theta* where the loss there was high."""
        return _where(guard.losses.is_high, guard.best_params, params)


def _where(chosen: Tensor, one: State, other: State) -> State:
    """``one`` for the problems that are ``chosen (L,)``, else ``other``."""
    parts: list[Tensor] = []
    map_state(parts.append, one)
    those = iter(parts)
    return map_state(lambda tensor: torch.where(per_problem(chosen, tensor), next(those), tensor), other)


def bare(rule: UpdateRule) -> UpdateRule:
    """``rule`` without the safeguard, if it wears one."""
    return rule.rule if isinstance(rule, Safeguarded) else rule
