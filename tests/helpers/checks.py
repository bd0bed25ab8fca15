"""The properties that matter most, as functions: the tests use them, and the planted faults must trip them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from probact.inference.objectives.act import ACT
from probact.inference.objectives.base import Objective
from probact.inference.priors import Prior
from probact.problems.base import Optimizee
from probact.rules.base import RULES
from probact.support.sight import Sight
from probact.support.trees import map_params
from probact.testing import assert_causal, assert_no_leak
from probact.testing.small import HORIZON, NUM, objective, problems
from probact.unrolling.rollout import Rollout, unroll

OPTIMIZERS = [name for name in RULES if RULES[name].sees is Sight.GRADIENT]
"""Names of the rules that see a gradient."""


def brute_force_elbo(q: Tensor, log_likelihood: Tensor, nu: float, kl_scale: float = 1.0) -> Tensor:
    """The bound (Sander 2017, eq 10) by the formulas of the prior as printed, loops and all; mean over problems.

    :param q: q(t|x,T), ``(T, L, t)``, of which the entries above the diagonal are not read.
    """
    num_steps, num = log_likelihood.shape
    r = nu**0.5
    p_T = [r ** (T - 1) * (1 - r**T) * (1 - nu) for T in range(1, num_steps + 1)]
    total = log_likelihood.new_zeros(())
    for problem in range(num):
        for T in range(1, num_steps + 1):
            bracket = log_likelihood.new_zeros(())
            for t in range(1, T + 1):
                weight = q[T - 1, problem, t - 1]
                if weight > 0:
                    p_t = (1 - r) * r ** (t - 1) / (1 - r**T)
                    bracket = bracket + weight * (log_likelihood[t - 1, problem] - kl_scale * torch.log(weight / p_t))
            total = total + p_T[T - 1] / sum(p_T) * bracket
    return total / num


def gradients(loss: Tensor, module: torch.nn.Module) -> dict[str, Tensor]:
    module.zero_grad()
    loss.backward()
    return {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
        for name, weight in module.named_parameters()
        if weight.requires_grad
    }


def assert_matches_closed_form(act: ACT, optimizee: Optimizee, tolerance: float = 1e-10) -> None:
    """The ELBO that Pyro computes, and its gradient for every weight, are those of the brute-force bound."""
    act.train()
    rollout = act.unroll(optimizee)
    ours = gradients(act.loss(rollout), act)
    value = act.loss(rollout := act.unroll(optimizee))
    assert act.posterior is not None
    q = act.posterior(rollout.features)
    expected = -brute_force_elbo(q.log_prob().exp(), rollout.log_likelihood, float(act.prior.nu), act.kl_scale)
    torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance)
    for name, gradient in gradients(expected, act).items():
        torch.testing.assert_close(
            ours[name], gradient, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


def plain_unroll(rule: Any, optimizee: Optimizee, horizon: int) -> Tensor:
    """Losses 0..K with the optimizee's own graph kept by autograd: what ``unroll`` must agree with."""
    params = {name: tensor.clone().requires_grad_() for name, tensor in optimizee.theta0.items()}
    state = rule.init(params)
    losses = [optimizee.nll(params)]
    for step in range(horizon):
        loss = optimizee.loss(params, step)
        grads = torch.autograd.grad(loss.sum(), list(params.values()), retain_graph=True)
        out = rule.step(dict(zip(params, grads, strict=True)), state, params, loss.detach())
        params, state = map_params(torch.add, params, out.update), out.state
        losses.append(optimizee.nll(params))
    return torch.stack(losses)


def rollout_of(built: Objective, optimizee: Optimizee) -> Rollout:
    return unroll(built.rule, optimizee, built.prior.horizon)


def prior_of(nu: float, horizon: int) -> Prior:
    return Prior(torch.tensor(nu, dtype=torch.float64), horizon)


__all__ = [
    "HORIZON",
    "NUM",
    "assert_causal",
    "assert_matches_closed_form",
    "assert_no_leak",
    "brute_force_elbo",
    "gradients",
    "objective",
    "plain_unroll",
    "prior_of",
    "problems",
    "rollout_of",
]
