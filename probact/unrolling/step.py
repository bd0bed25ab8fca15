"""One step of a rule: what it is given, what is seen at theta_t, and the step worked out or made."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from probact.rules.base import STAND_IN_LOSS, Step, UpdateRule
from probact.rules.plan import Plan
from probact.support.refusals import said
from probact.support.trees import Params, State, finite, map_params, per_problem
from probact.unrolling import progress as progress_features


class Carry(NamedTuple):
    """All that goes from step to step: parameters, the rule's and the features' memory, ``alive (L,)`` bool."""

    params: Params
    state: State
    progress: progress_features.Progress
    alive: Tensor


def init(rule: UpdateRule, params: Params, given: Params | None = None) -> Carry:
    """The carry before step 1 at ``params`` = theta_0 of problems that give the rule ``given``."""
    like = next(iter(params.values()))
    zero = like.new_zeros(len(like))
    state = rule.init(params)
    state = state if given is None else rule.shown(state, given)
    return Carry(params, state, progress_features.init(zero), zero == 0)


def zero_unless(kept: Tensor, params: Params) -> Params:
    """``params`` of the problems ``kept (L,)``, 0 of the others."""
    return map_params(lambda tensor: torch.where(per_problem(kept, tensor), tensor, 0.0), params)


def all_of(kept: Tensor) -> bool:
    """Whether all are; said to be unknown where a graph is compiled, which cannot depend on it."""
    return not torch.compiler.is_compiling() and bool(kept.all())


def all_finite(loss: Tensor, grads: Params) -> Tensor:
    """Whether a problem's loss and gradient are, ``(L,)``."""
    return finite([loss.unsqueeze(-1), *grads.values()])


def check_step(rule: UpdateRule, step: Any, params: Params) -> None:
    """:raises ValueError: unless a rule's ``step`` moves the parameters, and them alone, and tells its features."""
    what = f"{rule.label}: step: expected"
    if not isinstance(step, Step) or not isinstance(step.update, dict) or not isinstance(step.features, Tensor):
        raise ValueError(f"{what} Step(update, state, features), got {said(step)}")
    for name, tensor in params.items():
        update = step.update.get(name)
        if update is None or update.shape != tensor.shape or update.dtype != tensor.dtype:
            raise ValueError(f"{what} an update of {name!r} of {said(tensor)}, got {said(update)}")
    shape = (len(tensor), rule.num_features)
    if step.features.shape != shape:
        raise ValueError(f"{what} features of shape (L, num_features) = {shape}, got {said(step.features)}")


class Proposed(NamedTuple):
    """A step that is worked out and not made: what the rule (``(L, F')``) and ``progress.measure`` tell of it."""

    features: Tensor
    signals: Tensor


def propose(
    rule: UpdateRule,
    carry: Carry,
    loss: Tensor,
    grads: Params,
    plan: Plan | None = None,
    is_followed: bool = True,
    is_finite: bool = False,
) -> tuple[Params, Carry, Proposed]:
    """One step: theta_{t+1} - theta_t from loss ``(L,)`` and gradient at theta_t, and the carry after it, but still at
    theta_t.

    A problem whose loss or gradient is not finite stops where it is, for good: divergence is data, never NaN in the
    rule's weights.  A rule that ``recovers`` goes on: it sees the loss ``STAND_IN_LOSS`` and gradient 0 there.

    :param plan: what the rule is told, if it ``plans``.
    :param is_followed: whether halting sees what is told of the step; else nothing is measured.
    :param is_finite: whether loss and gradients are known to be.
    """
    finite = torch.ones_like(carry.alive) if is_finite else all_finite(loss, grads)
    alive = carry.alive if rule.recovers else carry.alive & finite
    seen = alive & finite
    if not (all_seen := all_of(seen)):
        loss, grads = torch.where(seen, loss, STAND_IN_LOSS if rule.recovers else 0.0), zero_unless(seen, grads)
    state = carry.state if plan is None else rule.told(carry.state, plan)
    step = rule.step(grads, state, carry.params, loss)
    check_step(rule, step, carry.params)
    update = step.update if all_seen else zero_unless(alive, step.update)
    signals = (
        progress_features.measure(loss, grads, update)
        if is_followed
        else loss.new_zeros(progress_features.NUM_SIGNALS, len(loss))
    )
    return update, Carry(carry.params, step.state, carry.progress, alive), Proposed(step.features, signals)


def advance(
    rule: UpdateRule, carry: Carry, loss: Tensor, grads: Params, plan: Plan | None = None, is_followed: bool = True
) -> tuple[Carry, Proposed]:
    """The step that ``propose`` works out, made: the carry at theta_{t+1}."""
    update, ahead, proposed = propose(rule, carry, loss, grads, plan, is_followed)
    return ahead._replace(params=map_params(torch.add, carry.params, update)), proposed


class Seen(NamedTuple):
    """What is seen at theta_t, the step from it being worked out but not made: all that halting at t may depend on.

    :ivar loss: ``(L,)``, what the rule descends, of a stochastic optimizee the next minibatch's; with ``Looks`` nll.
    :ivar grads: its gradient, name -> ``(L, *shape)``.
    :ivar features: ``(L, F)``.
    :ivar expected: what the step worked out is expected to take off nll, ``(L,)``; None of a rule that expects nothing.
    """

    loss: Tensor
    grads: Params
    features: Tensor
    expected: Tensor | None = None


def see(loss: Tensor, grads: Params, proposed: Proposed, ahead: Carry) -> tuple[Seen, Carry]:
    """What ``advance`` made of loss and gradient at theta_t as halting sees it; ``ahead`` with it in its memory."""
    features, progress = progress_features.take_in(ahead.progress, proposed.signals)
    return Seen(loss, grads, torch.cat([proposed.features, features], -1)), ahead._replace(progress=progress)
