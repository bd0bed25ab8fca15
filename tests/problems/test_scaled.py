from __future__ import annotations

import pytest
import torch

from probact.problems.base import Optimizee, value_and_grad
from probact.problems.scaled import Scaled
from probact.rules.base import RULES
from probact.runs.experiment import Experiment
from probact.support.randomness import random_stream
from probact.support.trees import map_params
from probact.training.meta_training import MetaTraining
from probact.unrolling.rollout import unroll
from tests.helpers.checks import assert_no_leak, problems
from tests.helpers.trainings import same, tiny

NAMES = ["mixed", "breast-cancer", "digits-mixed"]


def scaled(inner: Optimizee, spread: float = 0.7) -> Scaled:
    return Scaled.random(inner, spread, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES)
def test_loss_is_that_of_theta_and_the_gradient_goes_by_the_chain_rule(name: str, double: None) -> None:
    inner = problems(name, 3)
    outer = scaled(inner)
    assert (outer.num, outer.stochastic, outer.quadratic) == (3, inner.stochastic, inner.quadratic)
    step = map_params(torch.randn_like, inner.theta0)
    at, theta = (
        map_params(torch.add, outer.theta0, step),
        map_params(lambda a, b, c: a + b * c, inner.theta0, step, outer.scale),
    )
    for one, other in ((outer.nll, inner.nll), (lambda p: outer.loss(p, 5), lambda p: inner.loss(p, 5))):
        value, grads = value_and_grad(one, at)
        expected, of_theta = value_and_grad(other, theta)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(grads, map_params(torch.mul, of_theta, outer.scale))
    score, known = outer.test_score(at), inner.test_score(theta)
    torch.testing.assert_close(score, known)
    best = outer.optimum()
    assert best is None if inner.optimum() is None else torch.equal(best, inner.optimum())


def test_factors_are_lognormal_and_every_coordinates_own() -> None:
    log = torch.cat([scale.log().flatten() for scale in scaled(problems("digits", 8), 0.7).scale.values()])
    assert len(log.unique()) > 0.95 * len(log)
    assert float(log.mean()) == pytest.approx(0.0, abs=4 * 0.7 / len(log) ** 0.5)
    assert float(log.std()) == pytest.approx(0.7, rel=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_selected_moved_and_unrolled_like_any_other(name: str, double: None) -> None:
    outer = scaled(problems(name, 3))
    assert_no_leak(lambda optimizee: unroll(RULES["adam"](), optimizee, 3), outer)
    single = outer.to(torch.float32)
    assert {tensor.dtype for tensor in (*single.theta0.values(), *single.scale.values())} == {torch.float32}
    torch.testing.assert_close(single.nll(single.theta0), outer.nll(outer.theta0).float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_no_spread_changes_nothing_bit_for_bit(name: str) -> None:
    inner = problems(name, 3)
    plain, same_units = (unroll(RULES["adam"](), one, 4) for one in (inner, scaled(inner, 0.0)))
    torch.testing.assert_close(plain.nll, same_units.nll, rtol=0, atol=0)
    torch.testing.assert_close(plain.params, same_units.params, rtol=0, atol=0)


def test_training_problems_alone_are_scaled_and_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = {}
    for run, spread in (("plain", 0.0), ("scaled", 1.0), ("again", 1.0)):
        training = MetaTraining(tiny(random_scaling=spread))
        untrained = training.validate()
        seen: list[Optimizee] = []
        unroll = training.objective.unroll
        monkeypatch.setattr(training.objective, "unroll", lambda one, *a, f=unroll, s=seen: s.append(one) or f(one, *a))
        list(training)
        # Validated first, and every 2 meta-steps.
        assert [type(one) is Scaled for one in seen] == [False, *([bool(spread)] * 2 + [False]) * 3]
        weights[run] = training.objective.state_dict(), untrained
        for k, one in enumerate(seen[1:3]):  # each batch has its own problems and factors
            random = random_stream("train", 0, k)
            drawn = training.family.sample(4, random)
            drawn = Scaled.random(drawn, spread, random) if spread else drawn
            torch.testing.assert_close(one.theta0, drawn.theta0, rtol=0, atol=0)
    assert same(weights["scaled"][0], weights["again"][0])
    assert not same(weights["plain"][0], weights["scaled"][0])
    assert weights["plain"][1] == weights["scaled"][1]


def test_refuses_a_negative_spread() -> None:
    with pytest.raises(ValueError, match="random_scaling: expected a number >= 0, got -1"):
        Experiment.create(random_scaling=-1.0)
