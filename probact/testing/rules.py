"""Whether a class is an update rule."""

from __future__ import annotations

from typing import Any

import torch

from probact.problems.base import Optimizee, value_and_grad
from probact.rules.base import RULES, Step, UpdateRule
from probact.support.sight import Sight
from probact.support.trees import Params, State, map_params, map_state
from probact.testing.properties import assert_no_leak, close, equal, finite, holds, label, precision
from probact.testing.small import HORIZON, NUM, families_for, problems
from probact.unrolling.rollout import unroll
from probact.unrolling.step import check_step, init


def check_rule(kind: type[UpdateRule], **options: Any) -> None:
    """Its steps: shapes and types, the same each time, no problem sees another, every weight learns.

    :param options: keyword options of the rule.
    :raises AssertionError: at the first property that does not hold.
    """
    part = label(RULES, kind)
    families = families_for(kind.sees)
    with holds(part, f"there is a registered family that shows {kind.sees.value}"):
        equal(bool(families), True)
    for dtype in (torch.float32, torch.float64):
        for family in families:
            with precision(dtype):
                _check_step(part, RULES.build(kind.name, options), problems(family))
    with precision(torch.float64):
        rule, drawn = RULES.build(kind.name, options), problems(families[0])
        with holds(part, "problem l reads row l only"):
            assert_no_leak(lambda some: unroll(rule, some, HORIZON), drawn)
        _check_selection(part, rule, drawn)
        rollout = unroll(rule, drawn, HORIZON)
        with holds(part, "built from its options with its weights, it makes the same steps"):
            again = RULES.build(kind.name, options)
            again.load_state_dict(rule.state_dict())
            close(unroll(again, drawn, HORIZON).nll, rollout.nll, rtol=0, atol=0)
        weights = {name: weight for name, weight in rule.named_parameters() if weight.requires_grad}
        if weights:
            with holds(part, "a weight learns"):
                equal(rollout.nll.requires_grad, True)
                grads = torch.autograd.grad(rollout.nll.sum(0).mean(), list(weights.values()), materialize_grads=True)
                equal(any(bool(grad.any()) for grad in grads), True)
            for name, grad in zip(weights, grads, strict=True):
                with holds(part, f"gradient of weight {name}"):
                    finite(grad, tuple(weights[name].shape))


def _stepped(rule: UpdateRule, drawn: Optimizee, params: Params, state: State) -> Step:
    """At ``params``, with what the rule sees there."""
    loss, grads = value_and_grad(drawn.nll, params)
    if rule.sees is not Sight.GRADIENT:
        grads = map_params(torch.zeros_like, grads)
    if rule.sees is Sight.INPUT:
        loss = torch.zeros_like(loss)
    return rule.step(grads, state, params, loss)


def _begun(rule: UpdateRule, drawn: Optimizee) -> State:
    """The memory before the first step."""
    return init(rule, drawn.theta0, drawn.given()).state


def _check_step(part: str, rule: UpdateRule, drawn: Optimizee) -> None:
    theta0 = drawn.theta0
    step = _stepped(rule, drawn, theta0, _begun(rule, drawn))
    with holds(part, "a step"):
        check_step(rule, step, theta0)
        for tensor in (*step.update.values(), step.features):
            finite(tensor, tuple(tensor.shape))
    with holds(part, "finite at a gradient of 0"):
        zeros = map_params(torch.zeros_like, theta0)
        for tensor in rule.step(zeros, _begun(rule, drawn), theta0, torch.zeros(NUM)).update.values():
            finite(tensor, tuple(tensor.shape))


def _check_selection(part: str, rule: UpdateRule, drawn: Optimizee) -> None:
    """A problem may leave the batch after a step: its rows of the state are then dropped."""
    index = torch.tensor([3, 1])
    first = _stepped(rule, drawn, drawn.theta0, _begun(rule, drawn))
    params = map_params(torch.add, drawn.theta0, first.update)
    second = _stepped(rule, drawn, params, first.state)
    with holds(part, "every tensor of the state has a row a problem"):
        some, state = map_params(lambda tensor: tensor[index], params), map_state(lambda t: t[index], first.state)
        chosen = _stepped(rule, drawn.select(index), some, state)
        for name, tensor in chosen.update.items():
            close(tensor, second.update[name][index])
