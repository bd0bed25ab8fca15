"""The properties that matter most, as functions: the tests use them, and the planted faults must trip them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from probact.inference import exact
from probact.inference.objectives.act import ACT
from probact.inference.objectives.base import Objective
from probact.inference.posteriors.base import HaltingDistribution
from probact.inference.priors import Prior
from probact.problems.base import FAMILIES, Optimizee
from probact.runs.assembly import build_objective
from probact.runs.experiment import Experiment
from probact.support.trees import map_params
from probact.unrolling.rollout import Rollout, unroll

HORIZON = 7
NUM = 5


def problems(family: str, num: int = NUM, seed: int = 0, **options: Any) -> Optimizee:
    sampled = FAMILIES[family](**options).sample(num, torch.Generator().manual_seed(seed))
    return sampled.to(torch.get_default_dtype())


def objective(**settings: Any) -> Objective:
    """A small objective whose head is far from its start, so that nothing is near uniform by chance."""
    built = build_objective(Experiment.create(**{"horizon": HORIZON, "prior_nu": 0.8, "truncate": 0, **settings}))
    built.to(torch.get_default_dtype())
    if built.posterior is not None:
        with torch.no_grad():
            built.posterior.output.weight.mul_(10.0)
            built.posterior.output.bias.fill_(-1.0)
    return built


def assert_causal(distribution: Callable[[Tensor], HaltingDistribution], features: Tensor) -> None:
    """Changing the features of step s + 1 changes no row T <= s."""
    before = distribution(features).log_prob().exp()
    for s in range(1, len(features)):
        changed = features.clone()
        changed[s:] += torch.randn_like(changed[s:])
        torch.testing.assert_close(distribution(changed).log_prob().exp()[:s], before[:s], rtol=0, atol=0)


def assert_no_leak(run: Callable[[Optimizee], Rollout], optimizee: Optimizee) -> None:
    """Each problem's path is the same alone as among others."""
    together = run(optimizee)
    for index in range(optimizee.num):
        alone = run(optimizee.select(torch.tensor([index])))
        torch.testing.assert_close(alone.nll[:, 0], together.nll[:, index])
        torch.testing.assert_close(alone.features[:, 0], together.features[:, index])


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


__all__ = [name for name in dir() if not name.startswith("_")] + ["exact"]
