"""The searches that ship: on functions that nobody trained on, and beyond the steps that it was trained for."""

from __future__ import annotations

import pytest
import torch

from probact.judging.problem_sets import held_out_problems
from probact.judging.trajectory import record
from probact.problems.gaussian_process import Draws
from probact.runs.experiment import Experiment
from probact.runs.trained import TrainedOptimizer
from probact.stopping.online import run_until_stopped


@pytest.mark.parametrize(("name", "num"), [("gp-1d", 64), ("gp-2d", 24)])
def test_in_twice_its_horizon_nothing_is_lost_and_it_is_surer_to_stop(name: str, num: int) -> None:
    experiment = Experiment.create(family=name)
    problems, one = held_out_problems(experiment, num), TrainedOptimizer.load_named(name)
    path = record(one.rule, problems, 2 * one.horizon, one.online_posterior)
    assert bool((path.nll[1:].diff(dim=0) <= 0).all())
    hazard = torch.stack([known.hazard for known in path.known if known.hazard is not None])
    assert float(hazard[-1].mean()) >= float(hazard[one.horizon - 1].mean()) > 0.5
    assert float(hazard[1].mean()) < 0.1


def test_its_stop_is_worth_more_than_any_budget() -> None:
    """At the price of .01 of the unit of f; on 200 functions."""
    experiment = Experiment.create(family="gp-1d", price=0.01)
    problems, one = held_out_problems(experiment, 200), TrainedOptimizer.load_named("gp-1d")
    assert isinstance(problems, Draws)
    assert one.stop is not None
    stopped = run_until_stopped(one.rule, problems, 20, one.stop, one.posterior)
    path = record(one.rule, problems, 20)
    cost = experiment.step_cost
    budgets = path.nll[1:].mean(1) + cost * torch.arange(1, 21)
    assert float((stopped.nll + cost * stopped.step).mean()) < float(budgets.min())
