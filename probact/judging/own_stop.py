"""The halting step of a trained optimizer: that of its own stop rule, with what it is to be compared with."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from probact.inference.objectives.base import Objective
from probact.judging.problem_sets import tuning_problems
from probact.judging.stops import own_verdict, verdicts
from probact.judging.trajectory import record
from probact.problems.base import Optimizee
from probact.runs.experiment import Experiment
from probact.stopping.base import StopRule


class Stops(NamedTuple):
    """Where problems stop at one price of a step; steps are ``(L,)`` int64 in 1..H.

    :ivar rule: the optimizer's own stop rule, see ``stops.own_kinds``.
    :ivar stop: where that rule stops.
    :ivar budget, patience: where the best fixed budget and the best patience of the tuning problems do.
    :ivar oracle: where loss + price * steps is smallest, in hindsight.
    """

    rule: StopRule
    stop: Tensor
    budget: Tensor
    patience: Tensor
    oracle: Tensor


def own_stops(experiment: Experiment, objective: Objective, problems: Optimizee) -> Stops:
    """Stop ``problems`` at the experiment's price of a step, by rules tuned on its tuning problems."""
    head = objective.posterior if objective.posterior and objective.posterior.distribution.online else None
    test, tuning = (
        record(objective.rule, some, experiment.horizon, head) for some in (problems, tuning_problems(experiment))
    )
    found = verdicts(test, tuning, experiment.step_cost)
    own, stop = own_verdict(found), {verdict.kind: verdict.stop for verdict in found}
    assert own.rule is not None
    return Stops(own.rule, own.stop, stop["budget"], stop["patience"], stop["oracle"])
