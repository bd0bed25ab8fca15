"""Whether a class is a part of the prior: of the horizon, p(T), or of the halting step, p(t|T)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from probact.inference.prior_parts import HALTING_PRIORS, HORIZON_PRIORS, HaltingPrior, HorizonPrior
from probact.inference.priors import Prior
from probact.testing.properties import close, finite, holds, label, precision

NUS, CAPS = (0.3, 0.9, 0.999), (1, 2, 9, 60)


def check_horizon_prior(kind: type[HorizonPrior], **options: Any) -> None:
    """With a geometric p(t|T): masses add up to 1, closed forms are the sums, and gradients reach nu, if any does.

    :param options: keyword options of the part.
    :raises AssertionError: at the first property that does not hold.
    """
    _check(label(HORIZON_PRIORS, kind), horizon_prior=HORIZON_PRIORS.build(kind.name, options))


def check_halting_prior(kind: type[HaltingPrior], **options: Any) -> None:
    """The same with a geometric p(T).

    :param options: keyword options of the part.
    :raises AssertionError: at the first property that does not hold.
    """
    _check(label(HALTING_PRIORS, kind), halting_prior=HALTING_PRIORS.build(kind.name, options))


def _check(part: str, **parts: Any) -> None:
    for dtype in (torch.float32, torch.float64):
        with precision(dtype):
            for nu in NUS:
                for cap in CAPS:
                    with holds(part, f"a prior at nu = {nu}, H = {cap}"):
                        prior = Prior(torch.tensor(nu, dtype=dtype, requires_grad=True), cap, **parts)
                    _check_tables(f"{part}, nu = {nu}, H = {cap}", prior)
    with precision(torch.float64), holds(part, "a nu for each of several problems"):
        several = Prior(torch.tensor(NUS), 6, **parts)
        for nu, log_horizon, log_marginal in zip(NUS, several.log_horizon(), several.log_marginal(), strict=True):
            alone = Prior(torch.tensor(nu), 6, **parts)
            close(log_horizon, alone.log_horizon())
            close(log_marginal, alone.log_marginal())


def _check_tables(part: str, prior: Prior) -> None:
    cap, one = prior.horizon, torch.ones(())
    log_T, log_halting, log_t = prior.log_horizon(), prior.log_halting(), prior.log_marginal()
    with holds(part, "each p(t|T) adds up to 1"):
        close(log_halting.exp().sum(-1), one.expand(cap), rtol=1e-4, atol=1e-4)
    with holds(part, "p(T) and p(t) are finite and add up to 1"):
        for table in (log_T, log_t):
            finite(table, (cap,))
            close(table.exp().sum(), one, rtol=1e-4, atol=1e-4)
    with holds(part, "p(t) is the sum of p(T) p(t|T)"):
        close(log_t.exp(), (log_T.unsqueeze(-1) + log_halting).exp().sum(0), rtol=1e-3, atol=1e-5)
    with holds(part, "p(t|T) is the same whatever the cap, for T up to it"):
        close(prior.truncate(1).log_halting(), log_halting[:1, :1])
        half = (cap + 1) // 2
        close(prior.truncate(half).log_halting().exp(), log_halting[:half, :half].exp(), rtol=1e-4, atol=1e-5)
    for table in (log_T, log_t):
        if table.requires_grad:
            with holds(part, "the gradient with respect to nu is finite"):
                finite(_gradient(table, prior), ())


def _gradient(table: Tensor, prior: Prior) -> Tensor:
    assert isinstance(prior.nu, Tensor)
    (gradient,) = torch.autograd.grad(table.sum(), [prior.nu], retain_graph=True, materialize_grads=True)
    return gradient
