from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from probact.inference.posteriors.base import POSTERIORS, HaltingPosterior
from probact.inference.posteriors.sequential import Graves
from probact.inference.priors import Prior
from probact.testing import assert_causal, check_posterior

NAMES = list(POSTERIORS)
K, L, F = 9, 4, 3


def random_logits(scale: float = 2.0) -> Tensor:
    return scale * torch.randn(K, L, dtype=torch.float64)


def by_hand(name: str, logits: Tensor, T: int) -> list[float]:
    """q(t|T), t = 1..T, of one problem, from the formula's words."""
    hazard = [1 / (1 + math.exp(-float(logit))) for logit in logits[:T]]
    q = []
    if name == "softmax":
        scores = [sum(float(logit) for logit in logits[: t + 1]) for t in range(T)]
        return [math.exp(s) / sum(math.exp(r) for r in scores) for s in scores]
    if name == "graves":
        total = 0.0
        for t, h in enumerate(hazard):
            if total + h >= 1 - Graves.epsilon or t == T - 1:
                return [*q, 1 - total, *(0.0 for _ in range(T - t - 1))]
            q.append(h)
            total += h
    left = 1.0
    for h in hazard:
        q.append(h * left)
        left *= 1 - h
    if name == "truncated":
        return [mass / sum(q) for mass in q]
    return [*q[:-1], 1 - sum(q[:-1])]


@pytest.mark.parametrize("name", NAMES)
def test_rows_follow_the_formula(name: str) -> None:
    logits = random_logits()
    table = POSTERIORS[name](logits).log_prob().exp()
    assert table.shape == (K, L, K)
    for T in range(1, K + 1):
        for problem in range(L):
            expected = by_hand(name, logits[:, problem], T) + [0.0] * (K - T)
            torch.testing.assert_close(table[T - 1, problem], torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("name", NAMES)
def test_conformance(name: str) -> None:
    check_posterior(POSTERIORS[name])


@pytest.mark.parametrize("name", NAMES)
def test_causal(name: str, double: None) -> None:
    assert_causal(HaltingPosterior(name, F, 0.9), torch.randn(K, L, F))


@pytest.mark.parametrize("name", ["softmax", "truncated"])
@pytest.mark.parametrize("nu", [0.2, 0.95])
def test_starts_at_the_prior(name: str, nu: float, double: None) -> None:
    """With the head's bias alone, q(t|T) is p(t|T): two independent formulas for one table."""
    logits = torch.full((K, 1), POSTERIORS[name].initial_bias(nu))
    torch.testing.assert_close(POSTERIORS[name](logits).log_prob()[:, 0], Prior(nu, K).log_halting())


@pytest.mark.parametrize("name", ["stick-breaking", "graves"])
def test_deep_start(name: str) -> None:
    """The hazard starts at sigmoid(-3) or below, so that halting begins late rather than at step 2."""
    for nu in (0.3, 0.95, 0.999):
        assert POSTERIORS[name].initial_bias(nu) <= -3.0 < 0
    assert POSTERIORS[name].initial_bias(0.99) == pytest.approx(math.log(0.01 / 0.99))


def test_ponder_is_steps_and_remainder() -> None:
    weights = torch.tensor([[0.5, 0.3], [0.3, 0.3], [0.5, 0.3], [0.9, 0.05]])
    num_steps, remainder = Graves(torch.logit(weights)).ponder()
    assert num_steps.tolist() == [3, 4]
    torch.testing.assert_close(remainder, torch.tensor([0.2, 0.1]))


def test_features_reach_the_head() -> None:
    posterior = HaltingPosterior("stick-breaking", F, 0.95)
    q = posterior(torch.randn(K, L, F))
    assert q.logits.shape == (K, L)
    assert float(q.logits.detach().std()) > 0
