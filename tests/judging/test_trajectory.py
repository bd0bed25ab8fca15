"""What an optimizer has found by each step: of a line search the best iterate, not the trial that it will reject."""

from __future__ import annotations

import pytest
import torch

from probact import RULES, Budget, MetaTraining, Patience, run_until_stopped
from probact.inference.belief import infer
from probact.judging.trajectory import losses_after, record
from probact.rules.safeguarded import Safeguarded
from probact.testing.small import problems
from probact.unrolling.rollout import unroll
from tests.helpers.trainings import tiny

OPTIONS = {"first_share": 10.0, "backtrack": 0.9}


def test_a_rule_that_backtracks_is_judged_by_its_best_iterate() -> None:
    rule, optimizee = RULES.build("subspace", OPTIONS), problems("mixed", 20)
    with torch.no_grad():
        path = unroll(rule, optimizee, 30).nll
    best = torch.stack([path[: step + 1].min(0).values for step in range(31)])
    assert bool((path > best).any())  # there are trials that it rejects
    assert torch.allclose(record(rule, optimizee, 30).nll.float(), best)
    assert torch.allclose(losses_after(rule, optimizee, [0, 3, 30]), best[[0, 3, 30]])
    assert torch.allclose(
        record(Safeguarded(rule), optimizee, 30).nll.diff(dim=0).clamp_min(0), torch.zeros(1).double()
    )


@pytest.mark.parametrize("compact", [True, False])
def test_stopping_returns_what_it_is_judged_by(compact: bool) -> None:
    rule, optimizee = RULES.build("subspace", OPTIONS), problems("mixed", 20)
    path = record(rule, optimizee, 25).nll.float()
    for steps in (2, 7, 25):
        stopped = run_until_stopped(rule, optimizee, 25, Budget(steps), compact=compact)
        assert torch.allclose(stopped.nll, path[steps])
        assert torch.allclose(optimizee.nll(stopped.params), path[steps])
    stopped = run_until_stopped(rule, optimizee, 25, Patience(2), compact=compact)
    assert len(stopped.step.unique()) > 1
    assert torch.allclose(stopped.nll, path.gather(0, stopped.step.unsqueeze(0)).squeeze(0))


def test_so_it_is_in_validation_and_report() -> None:
    training = MetaTraining(tiny(family="mixed", rule="subspace", rule_options=OPTIONS, horizon=20))
    optimizee = training.family.sample(12, torch.Generator().manual_seed(0))
    path = infer(training.objective, optimizee).rollout.nll
    assert bool((path.diff(dim=0) <= 0).all())
    validation = training.validate()
    training.objective.rule.backtracks = False
    assert validation.loss < training.validate().loss


def test_no_other_rule_is_nor_where_the_loss_is_of_minibatches() -> None:
    for rule, family in (("adam", "mixed"), ("lstm", "mixed"), ("subspace", "mixed")):
        built, optimizee = RULES.build(rule, {"lr": 1.0} if rule == "adam" else {}), problems(family, 8)
        with torch.no_grad():
            assert torch.equal(record(built, optimizee, 15).nll.float(), unroll(built, optimizee, 15).nll)
    built, optimizee = RULES.build("subspace", OPTIONS), problems("digits", 3)
    with torch.no_grad():
        assert torch.equal(record(built, optimizee, 6).nll.float(), unroll(built, optimizee, 6).nll)
