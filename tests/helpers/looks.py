"""Halting that sees x: objectives whose problems stop at different steps, and what looks and recall promise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from probact.inference import exact
from probact.inference.belief import infer
from probact.inference.objectives.act import ACT
from probact.inference.objectives.base import Objective
from probact.judging.trajectory import record
from probact.problems.base import Optimizee
from probact.runs.experiment import Experiment
from probact.stopping.online import run_until_stopped
from probact.stopping.rules import Cumulative
from probact.support.trees import Params
from probact.testing.small import objective, problems
from probact.unrolling import looks as looks_at_x
from probact.unrolling.rollout import Rollout

HORIZON, NUM = 12, 16
RATE = 3.0
"""At which the loss on x of these networks rises at many steps."""


def looking(rate: float = RATE, price: float = 2.0, **settings: Any) -> ACT:
    """An objective that looks at x, and returns the best look, under plain gradient steps at ``rate``."""
    built = objective(
        family="digits-mixed",
        rule="sgd",
        rule_options={"lr": rate},
        halting_first=True,
        horizon=HORIZON,
        **{"looks": True, "recall": True, "prior_nu": float(np.exp(-price)), "halting": "stick-breaking", **settings},
    ).eval()
    assert isinstance(built, ACT)
    assert built.posterior is not None
    with torch.no_grad():
        built.posterior.output.weight.mul_(3)
        built.posterior.output.bias.fill_(-2)
    return built


def networks(num: int = NUM) -> Optimizee:
    """Small networks with minibatches: what the rule descends is not the loss on x."""
    return problems("digits-mixed", num, widest=4, batch_size=8, observations=8)


@dataclass(frozen=True)
class InUnits(Optimizee):
    """``inner`` with every loss times ``unit (L,)``."""

    unit: Tensor
    inner: Optimizee

    @property
    def stochastic(self) -> bool:
        return self.inner.stochastic

    def nll(self, params: Params) -> Tensor:
        return self.unit * self.inner.nll(params)

    def loss(self, params: Params, step: int) -> Tensor:
        return self.unit * self.inner.loss(params, step)


def of_look(memory: list[float], price: float) -> list[float]:
    """The features of the last of the looks ``memory``, by NumPy over all of them."""
    prices = np.array(memory) / price
    for look in range(1, len(prices)):
        prices[look] = prices[look] if np.isfinite(prices[look]) else prices[:look].max()
    falls, now, num = -np.diff(prices), prices[-1], len(prices)
    best_before = prices[:-1].min() if num > 1 else now
    since = num - 1 - int(prices.argmin())
    losses = [now, falls[-1] if num > 1 else 0.0, best_before - now, prices[0] - prices.min(), prices.max() - prices[0]]
    means, spreads = [], []
    for decay in looks_at_x.DECAYS:
        weights = np.zeros(0)
        for count in range(1, num):
            share = max(1 / count, 1 - decay)
            weights = np.append((1 - share) * weights, share)
        mean = float(weights @ falls) if num > 1 else 0.0
        means.append(mean)
        spreads.append(float(max(weights @ falls**2 - mean**2, 0)) ** 0.5 if num > 1 else 0.0)
    ratios = [float(np.clip(m / (s + 1e-3 * abs(m) + 1e-6), -8, 8)) / 4 for m, s in zip(means, spreads, strict=True)]

    def squashed(values: list[float]) -> list[float]:
        return [float(np.sign(value) * np.log1p(4 * abs(value)) / 3) for value in values]

    plain = [float(np.log(num)) / 3, float(np.log1p(since)) / 2, since / num, float(since == 0)]
    return [*squashed(losses), *plain, *squashed(means), *squashed(spreads), *ratios]


def assert_features_are_those_of_a_loop() -> None:
    """What ``of_unroll`` remembers from look to look is what ``of_look`` reads off all of them."""
    nll = 3 + torch.randn(20, 6).cumsum(0)
    nll[7, 2] = math.inf
    nll[12:, 3] = math.inf
    found = looks_at_x.of_unroll(nll, 0.7)
    assert found.shape == (20, 6, looks_at_x.NUM_FEATURES)
    for look in range(20):
        for problem in range(6):
            expected = torch.tensor(of_look(nll[: look + 1, problem].tolist(), 0.7))
            torch.testing.assert_close(found[look, problem], expected, rtol=1e-6, atol=1e-7)


def assert_looks_are_causal(of_unroll: Callable[[Tensor, float], Tensor]) -> None:
    """A look changes no feature of the looks before."""
    nll = torch.randn(9, 4).cumsum(0)
    whole = of_unroll(nll, 0.3)
    for num in range(1, len(nll)):
        torch.testing.assert_close(of_unroll(nll[:num], 0.3), whole[:num], rtol=0, atol=0)


def assert_online_is_the_whole(built: Objective, optimizee: Optimizee) -> None:
    """Followed step by step, recorded or with problems leaving, halting is that of the whole unroll."""
    assert built.posterior is not None
    with torch.no_grad():
        rollout = built.unroll(optimizee)
        hazard = torch.sigmoid(built.posterior(rollout.features).logits)
    path = record(built.rule, optimizee, HORIZON, built.posterior)
    torch.testing.assert_close(torch.stack([known.hazard for known in path.known if known.hazard is not None]), hazard)
    torch.testing.assert_close(path.nll, rollout.nll)
    halted = 1 - (1 - hazard).cumprod(0)
    threshold = float(halted[HORIZON // 2].median())
    first = 1 + (halted.index_fill(0, torch.tensor([HORIZON - 1]), 1.0) >= threshold).int().argmax(0)
    ran = run_until_stopped(built.rule, optimizee, HORIZON, Cumulative(threshold), built.posterior)
    assert len(first.unique()) > 2
    assert ran.step.tolist() == first.tolist()
    torch.testing.assert_close(ran.nll, rollout.nll.gather(0, first.unsqueeze(0))[0])


def assert_recalls_the_best_so_far(rollout: Rollout, path: Tensor) -> None:
    """At t the smallest loss of ``path (K + 1, L)`` at 0..t."""
    best = torch.stack([path[: t + 1].min(0).values for t in range(len(path))])
    assert bool((path > best).any())
    torch.testing.assert_close(rollout.nll, best)


def assert_evidence_is_of(built: ACT, optimizee: Optimizee, losses: Tensor) -> None:
    """Evidence, exact posterior, bound and gaps are those of ``losses (K + 1, L)``, by the formulas as printed."""
    tables = infer(built, optimizee).tables()
    assert built.kl_scale == 1
    nu = float(built.prior.nu)
    likelihood = -losses[1:].double().T.numpy()
    r, steps = nu**0.5, np.arange(1, HORIZON + 1)
    p_T = r ** (steps - 1) * (1 - r**steps)
    alpha = r ** (steps - 1)
    p_t = np.array([alpha[t] * (p_T / p_T.sum() / alpha.cumsum())[t:].sum() for t in range(HORIZON)])
    joint = p_t * np.exp(likelihood - likelihood.max(1, keepdims=True))
    evidence = np.log(joint.sum(1)) + likelihood.max(1)
    np.testing.assert_allclose(tables["log_evidence"].numpy(), evidence)
    np.testing.assert_allclose(tables["exact_pmf"].numpy(), joint / joint.sum(1, keepdims=True), atol=1e-12)
    q = tables["halt_pmf"].numpy()
    bound = (q * (likelihood - np.log(q / p_t))).sum(1)
    np.testing.assert_allclose(tables["elbo"].numpy(), bound)
    gap = tables["amortisation_gap"] + tables["horizon_gap"]
    np.testing.assert_allclose((tables["elbo"] + gap).numpy(), evidence)
    assert bool((gap >= 0).all())
    torch.testing.assert_close(exact.log_evidence(built.prior, -losses[1:]), tables["log_evidence"])


def assert_free_of_units(of_unit: Callable[[float], list[int]]) -> None:
    """Where problems stop with losses and price in each unit is where they stop in another."""
    expected = of_unit(1.0)
    assert len(set(expected)) > 2
    for unit in (1e-6, 1e-3, 1e3, 1e6):
        assert of_unit(unit) == expected


def stops_in(unit: float) -> list[int]:
    """Where the networks stop when losses and price are in ``unit``, and the rule's rate so that it steps alike."""
    built, reference, optimizee = looking(RATE / unit, kl_scale=unit), looking(), networks()
    scaled = InUnits(optimizee.theta0, torch.full((NUM,), unit), optimizee)
    there = record(reference.rule, optimizee, HORIZON, reference.posterior).known[HORIZON // 2].halted
    assert there is not None
    stop = Cumulative(float(there.median()) - 1e-6)
    return run_until_stopped(built.rule, scaled, HORIZON, stop, built.posterior).step.tolist()


def settings_of(**settings: Any) -> Experiment:
    return Experiment.create(family="quadratic", halting_first=True, halting="stick-breaking", **settings)
