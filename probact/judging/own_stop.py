"""The halting step of a trained optimizer: that of its own stop rule, with what it is to be compared with."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from probact.inference.objectives.base import Objective
from probact.judging.problem_sets import tuning_problems
from probact.judging.stops import oracle, stop_by, stop_rules, tune_stop
from probact.judging.trajectory import Trajectory, record
from probact.problems.base import Optimizee
from probact.runs.experiment import Experiment
from probact.stopping.base import STOP_RULES, StopRule


class Stops(NamedTuple):
    """Where problems stop at one price of a step; steps are ``(L,)`` int64 in 1..H.

    :ivar rule: the optimizer's own stop rule, see ``own_rule``.
    :ivar stop: where that rule stops.
    :ivar budget, patience: where the best fixed budget and the best patience of the tuning problems do.
    :ivar oracle: where loss + price * steps is smallest, in hindsight.
    """

    rule: StopRule
    stop: Tensor
    budget: Tensor
    patience: Tensor
    oracle: Tensor


def own_rule(tuning: Trajectory, price: float) -> StopRule:
    """Of the rules that follow the head of ``tuning`` the best there; of all others, where it followed none."""
    kinds = stop_rules(tuning.known[0].hazard is not None)
    learned = [kind for kind in kinds if kind.needs_posterior and kind.tunable]
    return min((tune_stop(kind, tuning, price) for kind in learned or kinds), key=lambda tuned: tuned.choice).rule


def own_stops(experiment: Experiment, objective: Objective, problems: Optimizee) -> Stops:
    """Stop ``problems`` at the experiment's price of a step, by rules tuned on its tuning problems."""
    head = objective.posterior if objective.posterior and objective.posterior.distribution.online else None
    price = experiment.step_cost
    test, tuning = (
        record(objective.rule, some, experiment.horizon, head) for some in (problems, tuning_problems(experiment))
    )
    own = own_rule(tuning, price)
    budget, patience = (tune_stop(STOP_RULES[name], tuning, price).rule for name in ("budget", "patience"))
    stop, by_budget, by_patience = (stop_by(rule, test, price).stop for rule in (own, budget, patience))
    return Stops(own, stop, by_budget, by_patience, oracle(test, price))
