"""Unrolls of as many steps as are drawn, which the rule is told in half of them, and what is left in the end."""

import math

import pytest
import torch

from probact.inference.objectives.base import OBJECTIVES
from probact.inference.priors import Prior
from probact.rules.base import RULES
from probact.runs.assembly import build_objective
from probact.runs.experiment import Experiment
from probact.support.randomness import random_stream
from probact.training.evolution import evolve, perturbations
from probact.training.meta_training import MetaTraining
from probact.unrolling.rollout import Rollout, unroll
from tests.helpers.checks import problems

SETTINGS = {
    "family": "digits",
    "family_options": {"hidden": "4"},
    "rule": "tensorwise",
    "halting": "none",
    "objective": "final-loss",
    "horizon": 12,
    "batch": 2,
    "validation_problems": 2,
    "truncate": 0,
    "through_path": True,
}


def final_loss(nll: torch.Tensor, optimum: torch.Tensor | None = None) -> torch.Tensor:
    objective = OBJECTIVES.build("final-loss", rule=RULES.build("adam"), posterior=None, horizon=Prior(0.9, 3))
    return objective.losses(Rollout(nll, torch.zeros(len(nll) - 1, nll.shape[1], 1), {}, optimum=optimum))


def test_what_is_left_in_the_end() -> None:
    nll = torch.tensor([[4.0, 100.0, 2.0], [9.0, 0.0, 2.0], [1.0, 50.0, 0.0]])
    assert final_loss(nll).tolist() == pytest.approx([math.log(0.251), math.log(0.501), math.log(1e-3)], rel=1e-5)
    torch.testing.assert_close(final_loss(1000 * nll), final_loss(nll))
    above = nll + torch.tensor([5.0, -2.0, 1.0])
    torch.testing.assert_close(final_loss(above, optimum=torch.tensor([5.0, -2.0, 1.0])), final_loss(nll))
    better = final_loss(torch.tensor([[1.0, 1.0], [-0.001, -0.002]]))  # below what was thought the floor
    assert float(better[1]) < float(better[0]) < math.log(1e-3)


def test_steps_are_drawn_and_told_in_half() -> None:
    training = MetaTraining(Experiment.create(**SETTINGS, horizon_from=3, tell_horizon=True, meta_steps=40))
    seen = []
    training._updates = lambda objective, *_: seen.append(objective) or [(_tally(), 1.0)]  # type: ignore[method-assign, func-returns-value]
    training.validate = lambda: _validation()  # type: ignore[method-assign]
    list(training)
    horizons = [objective.prior.horizon for objective in seen]
    assert min(horizons) < 5
    assert max(horizons) > 9
    assert all(3 <= horizon <= 12 for horizon in horizons)
    told = [objective.unrolling.total_steps for objective in seen]
    assert 10 < told.count(None) < 30
    assert all(total in (None, horizon) for total, horizon in zip(told, horizons, strict=True))
    assert training.objective.prior.horizon == 12
    assert training.objective.unrolling.total_steps is None
    assert {objective.unrolling.whole for objective in seen} == {False}


def _tally():  # type: ignore[no-untyped-def]
    from probact.training.tally import Tally

    return Tally(**dict.fromkeys(Tally._fields, 0.0))


def _validation():  # type: ignore[no-untyped-def]
    from probact.training.tally import Validation

    return Validation(0, 0.0, None)


def test_without_the_settings_all_is_as_before() -> None:
    training = MetaTraining(Experiment.create(**{**SETTINGS, "objective": "log-loss"}, meta_steps=1))
    objective = training._of_steps(0.3, True, training.objective)
    assert objective is training.objective


def test_validation_is_at_the_ends_and_the_middle_and_told() -> None:
    training = MetaTraining(Experiment.create(**SETTINGS, horizon_from=3, tell_horizon=True))
    found = []
    validated = training._validated
    training._validated = lambda objective, given: found.append(objective) or validated(objective, given)  # type: ignore[method-assign, func-returns-value]
    assert math.isfinite(training.validate().loss)
    assert [objective.prior.horizon for objective in found] == [3, 6, 12]
    assert [objective.unrolling.total_steps for objective in found] == [3, 6, 12]


@pytest.mark.parametrize("told", [None, 12])
def test_the_end_is_the_same_without_the_losses_between(told: int | None) -> None:
    objective = build_objective(Experiment.create(**SETTINGS))
    objective = objective if told is None else objective.unrolling_as(total_steps=told)
    digits = problems("digits", 2)
    with torch.no_grad():
        ends = unroll(objective.rule, digits, 12, objective.unrolling._replace(whole=False))
        whole = unroll(objective.rule, digits, 12, objective.unrolling)
    torch.testing.assert_close(ends.nll[[0, -1]], whole.nll[[0, -1]], rtol=0, atol=0)
    torch.testing.assert_close(objective.losses(ends), objective.losses(whole))


@pytest.mark.parametrize("segment", [None, 5])
def test_evolution_does_not_need_them_either(segment: int | None) -> None:
    objective = build_objective(Experiment.create(**SETTINGS))
    found = []
    for whole in (False, True):
        objective.zero_grad()
        objective.unrolling = objective.unrolling._replace(whole=whole)
        noise = perturbations(objective.rule, 2, range(2), random_stream("perturbations", 0))
        loss, _ = evolve(objective, problems("digits", 2), noise, 0.05, segment)
        loss.backward()
        grads = [weight.grad.clone() for weight in objective.rule.parameters() if weight.grad is not None]
        found.append([loss.detach(), *grads])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_looks_need_every_loss() -> None:
    looks = {"halting": "stick-breaking", "looks": True, "horizon_prior": "flat"}
    assert build_objective(Experiment.create(**{**SETTINGS, **looks})).sees_all
    assert build_objective(Experiment.create(**{**SETTINGS, "log_loss_weight": 1.0})).sees_all
    assert not build_objective(Experiment.create(**SETTINGS)).sees_all


def test_reports_have_every_loss() -> None:
    training = MetaTraining(Experiment.create(**SETTINGS, meta_steps=1))
    with torch.no_grad():
        nll = training.objective.unroll(problems("digits", 2)).nll
    assert len(nll.unique(dim=0)) == len(nll) == 13


def test_a_rule_that_does_not_plan_is_not_told() -> None:
    with pytest.raises(ValueError, match=r"tell-horizon: expected a rule that plans \(.*tensorwise.*\), got 'lstm'"):
        MetaTraining(Experiment.create(**{**SETTINGS, "rule": "lstm", "tell_horizon": True}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"horizon_from": 13}, "horizon-from: expected at most the horizon, 12, got 13"),
        ({"horizon_from": 3, "curriculum": 5}, "expected horizon-from or curriculum, got both"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Experiment.create(**{**SETTINGS, **settings})
