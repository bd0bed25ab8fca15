"""A rule whose steps are compiled: for optimizations of so many steps that a minute at the first one is nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from probact.rules.base import Step, UpdateRule
from probact.support import compiling
from probact.support.trees import Params, State

Result = TypeVar("Result")


def fused(rule: UpdateRule) -> UpdateRule:
    """A copy of ``rule`` whose step, or that of its parts, is compiled where no gradient is wanted.

    :raises ValueError: if none of them is one graph.
    """
    rule = copy.deepcopy(rule)
    parts = [part for part in rule.modules() if isinstance(part, UpdateRule) and part.is_one_graph]
    if not parts:
        raise ValueError(f"compile: expected a rule whose step is one graph, without branches, got {rule.label}")
    for part in parts:
        part.is_compiled = True
    return rule


def stepped(rule: UpdateRule, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
    """``rule.step``, compiled as ``graph`` does, if it does not itself compile what it consists of."""
    if rule.is_in_graphs:
        return rule.step(grads, state, params, loss)
    return graph(rule, type(rule).step, rule, grads, state, params, loss)


def is_compiling(rule: UpdateRule) -> bool:
    """Whether it is ``fused``, no gradient is wanted, and the compiler has not failed."""
    return rule.is_compiled and not torch.is_grad_enabled() and not compiling.failures


def graph(rule: UpdateRule, function: Callable[..., Result], *given: Any) -> Result:
    """``function(*given)``, compiled where ``is_compiling``."""
    if is_compiling(rule):
        try:
            result: Result = _compiled(function)(*given)
        except Exception as error:
            compiling.give_up(error)
        else:
            return result
    return function(*given)


@cache
def _compiled(function: Any) -> Any:
    return compiling.compiled(function)
