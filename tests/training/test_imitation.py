"""Imitation: how far the rule's step is from the teacher's, on the rule's own path."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from probact.problems.base import Optimizee
from probact.rules.base import RULES
from probact.rules.hand_designed import HandDesigned
from probact.runs.assembly import check_imitation
from probact.training.imitation import Apprentice, imitate
from probact.training.meta_training import MetaTraining
from probact.training.schedule import weight_at
from probact.unrolling.rollout import unroll
from probact.unrolling.walk import Walk
from tests.helpers.checks import HORIZON, NUM, gradients, objective, problems
from tests.helpers.trainings import same, tiny

TAUGHT = {"imitate": "nag", "imitation_lr": 0.03, "imitation_steps": 4}
TEACHER = RULES["nag"](lr=0.03)


def _student(**settings: Any) -> Any:
    return objective(halting="none", rule_options={"hidden_size": 4}, **settings)


def _imitate(*arguments: Any) -> Any:
    ((loss, rollout),) = imitate(*arguments)
    return loss, rollout


def _path(rule: Any, optimizee: Optimizee, num_steps: int) -> list[Tensor]:
    walk, path = Walk(rule, optimizee), []
    with torch.no_grad():
        for _ in range(num_steps):
            path.append(walk.params["theta"])
            walk.move()
    return path


def test_by_hand(double: None) -> None:
    """Nesterov's velocity from the gradients along the student's path."""
    student, optimizee = _student(), problems("quadratic")
    path = _path(student.rule, optimizee, HORIZON + 2)
    velocity, distances = torch.zeros_like(path[0]), []
    for now, after in pairwise(path):
        theta = now.clone().requires_grad_()
        (grad,) = torch.autograd.grad(optimizee.nll({"theta": theta}).sum(), theta)
        velocity = 0.9 * velocity + grad
        shown = -0.03 * (grad + 0.9 * velocity)
        distances.append((after - now - shown).square().sum(-1) / shown.square().sum(-1))
    plain, _ = student(optimizee)
    loss, rollout = _imitate(student, TEACHER, 0.5, optimizee)
    torch.testing.assert_close(loss, plain + 0.5 * torch.stack(distances)[1:].mean())
    tables = [one._replace(optimizee=None) for one in (rollout, student.unroll(optimizee))]
    torch.testing.assert_close(*tables)


def test_who_imitates_himself_is_at_no_distance(double: None) -> None:
    teachers = [name for name in RULES if issubclass(RULES[name], HandDesigned)]
    for name in teachers:
        rule = Apprentice(RULES[name](), RULES[name]())
        assert float(unroll(rule, problems("regression"), 12).features[..., 0].abs().max()) == 0, name


def test_l_bfgs_learns_the_curvature_on_another_s_path(double: None) -> None:
    """Its pairs are the student's displacements s, so that y = (Hessian) s on a quadratic."""
    optimizee, teacher = problems("quadratic"), RULES["lbfgs"]()
    walk = Walk(Apprentice(RULES["sgd"](lr=0.01), teacher), optimizee)
    with torch.no_grad():
        for _ in range(5):
            walk.move()
    curvature = walk.carry.state.teacher[0]
    design = optimizee.design  # type: ignore[attr-defined]
    steps, changes = curvature.steps[:, -3:], curvature.changes[:, -3:]
    torch.testing.assert_close(changes, 2 * steps @ design.mT @ design)
    assert float(changes.abs().min()) > 0


@pytest.mark.parametrize("through_path", [False, True])
@pytest.mark.parametrize("truncate", [0, 3])
@pytest.mark.parametrize("halting", ["none", "stick-breaking"])
def test_recomputed_it_is_the_same(halting: str, truncate: int, through_path: bool, double: None) -> None:
    found = []
    for recompute in (False, True):
        settings = {"truncate": truncate, "through_path": through_path, "recompute": recompute}
        built = objective(halting=halting, rule_options={"hidden_size": 4}, **settings)
        loss, _ = _imitate(built, TEACHER, 2.0, problems("quadratic"))
        found.append({"loss": loss.detach().clone(), **gradients(loss, built)})
    torch.testing.assert_close(found[0], found[1])


def test_by_segment_it_is_that_of_each_part(double: None) -> None:
    """Theta_t and all memories go on over the cuts; a part's distances are those of its steps."""
    whole, parted = (_student(objective="log-loss", truncate=3, by_segment=by) for by in (False, True))
    optimizee = problems("quadratic")
    with torch.no_grad():
        _, rollout = _imitate(whole, TEACHER, 1.0, optimizee)
        parts = list(imitate(parted, TEACHER, 1.0, optimizee))
        distance = unroll(Apprentice(whole.rule, TEACHER), optimizee, HORIZON).features[..., whole.rule.num_features]
    torch.testing.assert_close(torch.cat([part.nll[1:] for _, part in parts]), rollout.nll[1:])
    losses = [loss - parted.score(part) for loss, part in parts]
    torch.testing.assert_close(losses, [part.mean() for part in distance.split(3)])


def test_a_teacher_that_stands_still_teaches_nothing(double: None) -> None:
    """And neither does a problem on which the student diverged."""
    student, optimizee = _student(), problems("quadratic")
    optimizee.design[0], optimizee.target[0] = 0.0, 0.0  # type: ignore[attr-defined]
    optimizee.theta0["theta"][1] = 1e200
    loss, rollout = _imitate(student, TEACHER, 1.0, optimizee)
    assert rollout.nll.isinf().any(0).tolist() == [False, True, False, False, False]
    found = gradients(loss, student)
    kept = optimizee.select(torch.tensor([2, 3, 4]))
    distance = unroll(Apprentice(student.rule, TEACHER), kept, HORIZON).features[..., student.rule.num_features]
    plain, _ = student(optimizee)
    expected = plain + distance.sum() / (HORIZON * (NUM - 1))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(found, gradients(expected, student))


def test_its_weight_falls_to_nothing() -> None:
    experiment = tiny(**TAUGHT, imitation_weight=2.0)
    assert [weight_at(step, experiment) for step in range(6)] == [2.0, 1.5, 1.0, 0.5, 0.0, 0.0]
    assert weight_at(0, tiny()) == 0.0


def test_it_draws_the_rule_towards_the_teacher() -> None:
    settings = {"halting": "none", "horizon": 10, "batch": 8, "meta_steps": 60, "validate_every": 60}
    teaching = {"imitate": "nag", "imitation_lr": 0.03, "imitation_weight": 1e4, "imitation_steps": 10**6}
    training = MetaTraining(tiny(**settings, **teaching))

    def distance() -> float:
        with torch.no_grad():
            rollout = unroll(Apprentice(training.objective.rule, TEACHER), problems("quadratic"), 10)
        return float(rollout.features[..., training.objective.rule.num_features].mean())

    before = distance()
    list(training)
    assert distance() < 0.7 * before  # 0.86 without a teacher


def test_when_it_is_over_training_is_as_without() -> None:
    over, without = MetaTraining(tiny(**{**TAUGHT, "imitation_steps": 0})), MetaTraining(tiny())
    list(over), list(without)
    assert same(over.objective.state_dict(), without.objective.state_dict())


@pytest.mark.parametrize("estimator", ["collapse", "sample"])
def test_a_run_that_continues_is_the_same_run(estimator: str) -> None:
    whole, first, second = (MetaTraining(tiny(**TAUGHT, estimator=estimator)) for _ in range(3))
    list(whole)
    list(islice(first, 2))
    second.load_state_dict(first.state_dict())
    list(second)
    assert same(whole.objective.state_dict(), second.objective.state_dict())


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"imitate: expected one of sgd, .*, got 'lstm'"):
        check_imitation(tiny(imitate="lstm"))
    with pytest.raises(ValueError, match="imitate: expected a rule with weights that learns, got 'sgd'"):
        check_imitation(tiny(imitate="nag", rule="sgd"))
    with pytest.raises(ValueError, match="imitation_weight: expected a number >= 0"):
        tiny(imitation_weight=-1.0)
