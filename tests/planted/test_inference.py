"""Each fault that would spoil the results quietly, planted: the checks of the other tests must see it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from probact.inference.objectives.act import ACT
from probact.inference.posteriors.base import HaltingDistribution, HaltingPosterior
from probact.inference.priors import Prior
from probact.inference.steps import Steps
from probact.unrolling.progress import NUM_FEATURES
from probact.unrolling.rollout import Rollout
from tests.helpers.checks import (
    assert_causal,
    assert_matches_closed_form,
    objective,
    problems,
)

pytestmark = pytest.mark.usefixtures("double")


def act() -> ACT:
    built = objective(objective="elbo", estimator="enumerate")
    assert isinstance(built, ACT)
    return built


def test_without_a_fault_all_checks_pass() -> None:
    healthy = act()
    assert healthy.posterior is not None
    assert_causal(healthy.posterior, torch.randn(5, 3, 40 + NUM_FEATURES))
    assert_matches_closed_form(healthy, problems("regression"))


def test_a_head_that_sees_the_future() -> None:
    class Seeing(HaltingPosterior):
        def forward(self, features: Tensor) -> HaltingDistribution:
            return super().forward(features - features.mean(0))

    with pytest.raises(AssertionError):
        assert_causal(Seeing("stick-breaking", 4, 0.9), torch.randn(5, 3, 4))


def test_a_softmax_over_the_whole_horizon() -> None:
    class Whole(HaltingPosterior):
        def forward(self, features: Tensor) -> HaltingDistribution:
            q = super().forward(features)
            return type(q)(q.logits - q.logits.logsumexp(0))

    with pytest.raises(AssertionError):
        assert_causal(Whole("stick-breaking", 4, 0.9), torch.randn(5, 3, 4))


def test_off_by_one_in_t(monkeypatch: pytest.MonkeyPatch) -> None:
    """Halting at t is charged the loss before step t."""
    monkeypatch.setattr(Rollout, "log_likelihood", property(lambda self: -self.nll[:-1]), raising=True)
    shifted = act()
    rollout = shifted.unroll(problems("regression"))
    value = shifted.loss(rollout)
    monkeypatch.undo()
    with pytest.raises(AssertionError):
        torch.testing.assert_close(value, shifted.loss(rollout))


def test_off_by_one_in_the_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Prior.halting_distribution

    def shifted(self: Prior, T: Tensor, num_steps: int | None = None) -> Steps:
        return original(self, (T + 1).clamp_max(self.horizon), num_steps)

    monkeypatch.setattr(Prior, "halting_distribution", shifted)
    with pytest.raises(AssertionError):
        assert_matches_closed_form(act(), problems("regression"))


def test_prior_normalised_over_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prior code's fault: KL to a prior that sums to 1 over the whole batch, KL too large by log L."""
    original = Prior.halting_distribution

    def over_the_batch(self: Prior, T: Tensor, num_steps: int | None = None) -> Steps:
        return Steps(original(self, T, num_steps).log_pmf - math.log(5), validate_args=False)

    monkeypatch.setattr(Prior, "halting_distribution", over_the_batch)
    with pytest.raises(AssertionError):
        assert_matches_closed_form(act(), problems("regression"))


def test_two_unrelated_nus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prior code's .945 for T and .9 for t."""
    monkeypatch.setattr(Prior, "horizon_distribution", lambda self: Steps(Prior(0.945, self.horizon).log_horizon()))
    faulty = act()
    with pytest.raises(AssertionError):
        assert_matches_closed_form(faulty, problems("regression"))


def test_posterior_without_gradient_from_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prior code's V1: the loss at the halting step teaches q nothing."""
    original = ACT.q

    def deaf(self: ACT, rollout: Rollout) -> HaltingDistribution:
        q = original(self, rollout)
        return type(q)(q.logits.detach())

    monkeypatch.setattr(ACT, "q", deaf)
    with pytest.raises(AssertionError):
        assert_matches_closed_form(act(), problems("regression"))
