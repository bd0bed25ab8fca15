"""Mistakes in a user's own family or rule, found once, before it is trained or judged, and named."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from probact.problems.base import Optimizee, OptimizeeFamily, check_problems, value_and_grad
from probact.rules.base import Step, UpdateRule
from probact.support.refusals import naming, said
from probact.support.sight import Sight
from probact.support.trees import Params, finite, map_params, map_state, per_problem
from probact.unrolling.begin import check_sight
from probact.unrolling.step import check_step, init

NUM, MANY = 7, 32
"""Problems that are drawn to look at, and to find one with a loss where those have none."""


def check_parts(family: OptimizeeFamily, rule: UpdateRule) -> None:
    """``try_family`` and ``try_rule`` for each member of ``family``.

    :raises ValueError: as they do.
    """
    device = next((weight.device for weight in rule.parameters()), torch.device("cpu"))
    for member in family.members:
        try_rule(rule, try_family(member).to(device))


def try_family(family: OptimizeeFamily, seed: int = 0) -> Optimizee:
    """Draw some problems and try all that training asks of them; returns them.

    :raises ValueError: that names family and method, what was expected and what it did.
    """
    what = family.label
    with naming(f"{what}: sample"):
        problems, again = (family.sample(NUM, torch.Generator().manual_seed(seed)) for _ in range(2))
        check_problems(problems)
    if set(family.shows) != set(problems.shows):
        expected, got = (" and ".join(sight.name for sight in shows) for shows in (problems.shows, family.shows))
        raise ValueError(f"{what}: shows: expected that of its problems, {expected}, got {got}")
    _check_tensors(what, problems)
    _check_dependence(what, problems)
    first, same = _losses(what, problems, "nll"), _losses(what, again, "nll")
    if not bool(first.isfinite().any()):
        more = family.sample(MANY, torch.Generator().manual_seed(seed))
        if not bool(_losses(what, more, "nll").isfinite().any()):
            raise ValueError(f"{what}: nll: expected a finite loss at theta_0, got none in {MANY} problems")
    starts = [torch.equal(a, b) for a, b in zip(problems.theta0.values(), again.theta0.values(), strict=True)]
    if not (all(starts) and torch.equal(first.nan_to_num(), same.nan_to_num())):
        raise ValueError(
            f"{what}: sample: expected the same problems from generators in the same state, got others: "
            "all random numbers have to come from the generator"
        )
    with naming(f"{what}: select"):
        one = problems.select(torch.tensor([1]))
    apart = map_params(lambda tensor: tensor + per_problem(0.1 * torch.arange(NUM), tensor), problems.theta0)
    apart_alone = map_params(lambda tensor: tensor[1:2], apart)
    for method in ("nll", "loss") if problems.stochastic else ("nll",):
        together, alone = _losses(what, problems, method, apart)[1:2], _losses(what, one, method, apart_alone)
        if not torch.allclose(together, alone, rtol=1e-3, atol=1e-4, equal_nan=True):
            raise ValueError(
                f"{what}: {method}: expected the loss of a problem not to depend on the others of its batch, "
                f"got {together.item():.6g} among {NUM} and {alone.item():.6g} alone"
            )
    with naming(f"{what}: optimum"):
        optimum = problems.optimum()
    if optimum is not None and not (isinstance(optimum, Tensor) and optimum.shape == (NUM,)):
        raise ValueError(f"{what}: optimum: expected shape (L,) = ({NUM},) or None, got {said(optimum)}")
    return problems


def try_rule(rule: UpdateRule, problems: Optimizee) -> None:
    """Make one step of ``rule`` on ``problems``.

    :raises ValueError: that names rule and method, what was expected and what it did.
    """
    what, theta, num = rule.label, problems.theta0, problems.num
    check_sight(rule, problems)
    for weight in rule.parameters():
        if wrong := [name for name, tensor in theta.items() if tensor.dtype != weight.dtype]:
            raise ValueError(
                f"{what}: expected parameters of {weight.dtype}, the type of its weights, got {wrong[0]!r} of "
                f"{theta[wrong[0]].dtype}"
            )
    with torch.no_grad():
        loss, grads = shown_at_start(rule, problems)
        with naming(f"{what}: init"):
            state = init(rule, theta, problems.given()).state
        _check_state(f"{what}: init", state, num)
        with naming(f"{what}: step"):
            step = rule.step(grads, state, theta, loss)
    check_step(rule, step, theta)
    update, state, features = step
    _check_state(f"{what}: step: state", state, num)
    _check_rows(what, step, rule, problems, grads, loss)
    usable = finite([loss.unsqueeze(-1), *grads.values()])
    moved = finite([*update.values(), features])
    if bool(usable.any()) and not bool((usable & moved).any()):
        raise ValueError(
            f"{what}: step: expected a finite update and features from a finite loss and gradient, got NaN or inf"
        )


def shown_at_start(rule: UpdateRule, problems: Optimizee) -> tuple[Tensor, Params]:
    """Loss and gradient at theta_0, 0 for a rule that sees no gradient there."""
    if rule.sees is Sight.GRADIENT:
        return value_and_grad(problems.nll, problems.theta0)
    return next(iter(problems.theta0.values())).new_zeros(problems.num), map_params(torch.zeros_like, problems.theta0)


def _check_rows(what: str, step: Step, rule: UpdateRule, problems: Optimizee, grads: Params, loss: Tensor) -> None:
    theta, grad, alone = map_state(lambda tensor: tensor[1:2], (problems.theta0, grads, loss))
    with torch.no_grad():
        given = problems.select(torch.arange(1, 2)).given()
        one = rule.step(grad, init(rule, theta, given).state, theta, alone)
    for name, update in one.update.items():
        if not torch.allclose(step.update[name][1:2], update, rtol=1e-2, atol=1e-3, equal_nan=True):
            raise ValueError(
                f"{what}: step: expected the update of a problem not to depend on the others of its batch, "
                f"got another of {name!r} among {problems.num} than alone"
            )


def _check_dependence(what: str, problems: Optimizee) -> None:
    """Something is to be chosen, and ``nll`` depends on it."""
    for name, tensor in problems.theta0.items():
        if not tensor.numel():
            raise ValueError(
                f"{what}: sample: expected parameters of one number at least, got theta0[{name!r}] of shape "
                f"{tuple(tensor.shape)} (an option that is 0?)"
            )
    for at in (problems.theta0, map_params(lambda tensor: tensor + 1, problems.theta0)):
        _, grads = _losses_and_grads(what, problems, "nll", at)
        if any(bool(grad.count_nonzero()) for grad in grads.values()):
            return
    raise ValueError(
        f"{what}: nll: expected a loss that depends on the parameters, got a gradient of 0 for all {NUM} problems "
        "at theta_0 and theta_0 + 1 (without observations?)"
    )


def _losses(what: str, problems: Optimizee, method: str, at: Params | None = None) -> Tensor:
    return _losses_and_grads(what, problems, method, at or problems.theta0)[0]


def _losses_and_grads(what: str, problems: Optimizee, method: str, at: Params) -> tuple[Tensor, Params]:

    def losses(params: Any) -> Any:
        return problems.nll(params) if method == "nll" else problems.loss(params, 0)

    losses.__qualname__ = f"{type(problems).__name__}.{method}"
    with naming(f"{what}: {method}"):
        return value_and_grad(losses, at)


def _check_tensors(what: str, problems: Optimizee) -> None:
    """L as the first dimension of all that is the problems' own."""
    own = {entry.name: getattr(problems, entry.name) for entry in fields(problems)}
    tensors = {key: value for key, value in own.items() if isinstance(value, Tensor)}
    for key, value in own.items():
        if isinstance(value, dict):
            tensors |= {f"{key}[{name!r}]": tensor for name, tensor in value.items() if isinstance(tensor, Tensor)}
    for name, tensor in tensors.items():
        if tensor.dim() == 0 or len(tensor) != NUM:
            raise ValueError(
                f"{what}: sample: expected {name} to have a row for each of {NUM} problems, got shape "
                f"{tuple(tensor.shape)} (what all share is wrapped in Shared)"
            )


def _check_state(what: str, state: Any, num: int) -> None:
    if isinstance(state, tuple | dict):
        for part in state.values() if isinstance(state, dict) else state:
            _check_state(what, part, num)
    elif not isinstance(state, Tensor) or state.dim() == 0 or len(state) != num:
        raise ValueError(
            f"{what}: expected nested tuples and dicts of tensors with L = {num} as first dimension, got {said(state)}"
        )
