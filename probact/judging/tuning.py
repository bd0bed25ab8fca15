"""Learning rates of the hand-designed rules, tuned for each family and target step on problems of their own.

The rates of the default families lie in ``tuned_rates.json``, which ``python benchmarks/tune.py`` writes; what is not
there is tuned when it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from probact.judging.problem_sets import tuning_problems
from probact.judging.trajectory import losses_after
from probact.problems.base import Optimizee
from probact.rules.base import RULES
from probact.rules.hand_designed import hand_designed
from probact.runs.assembly import check_imitation, family_judged
from probact.runs.experiment import Experiment

TUNED_RATES = Path(__file__).with_name("tuned_rates.json")
LARGE = 2048
"""Coordinates beyond which a problem takes too long to be tuned on thousands."""


def tuned_rates(
    name: str, experiment: Experiment, steps: Iterable[int], options: Mapping[str, Any] | None = None
) -> dict[int, float]:
    """For each target step the ``lr`` of rule ``name`` with the smallest mean loss there.

    :param options: the rule's other options.
    :raises ValueError: if the rule has no learning rate to tune.
    """
    targets = sorted(set(steps))
    known = _cached().get(family_key(experiment), {}).get(rule_key(name, options or {}), {})
    if all(str(step) in known for step in targets):
        return {step: known[str(step)] for step in targets}
    return sweep(name, experiment, targets, options)


def sweep(
    name: str, experiment: Experiment, steps: Sequence[int], options: Mapping[str, Any] | None = None
) -> dict[int, float]:
    """``tuned_rates``, computed: all of ``HandDesigned.learning_rates``, then the best two of each step once more.

    The second time on 40 times the problems, as a rate that is a little too large blows up one problem in
    ten thousand; not for stochastic or large optimizees, networks and pictures, which do not: a quarter of the tuning
    problems, once, is enough for them.  A rate at which fewer problems diverge wins.  A rule that plans is told each of
    the steps.

    :param steps: the target steps, ascending.
    """
    if name not in hand_designed():
        raise ValueError(f"rule {name!r} has no learning rate to tune: expected a hand-designed rule")

    def score(rates: Iterable[float], problems: Optimizee) -> dict[int, list[float]]:
        """The rates for each step, best first."""
        scores: dict[int, list[tuple[int, float, float]]] = {step: [] for step in steps}
        for lr in rates:
            losses = losses_after(RULES.build(name, {**(options or {}), "lr": lr}), problems, steps, told=True)
            for step, loss in zip(steps, losses, strict=True):
                survived = loss.isfinite()
                mean = float(loss[survived].double().mean())
                scores[step].append((int((~survived).sum()), mean, lr))
        return {step: [lr for _, _, lr in sorted(rows)] for step, rows in scores.items()}

    problems = tuning_problems(experiment)
    once = problems.stochastic or sum(tensor[0].numel() for tensor in problems.theta0.values()) > LARGE
    if once:
        problems = problems.select(torch.arange(experiment.validation_problems, device=experiment.device))
    best = score(hand_designed()[name].learning_rates, problems)
    if not once:
        finalists = {lr for rates in best.values() for lr in rates[:2]}
        allowed = {step: set(rates[:2]) for step, rates in best.items()}
        again = score(sorted(finalists), tuning_problems(experiment, 160))
        best = {step: [lr for lr in rates if lr in allowed[step]] for step, rates in again.items()}
    return {step: rates[0] for step, rates in best.items()}


def family_key(experiment: Experiment) -> str:
    """The family with its options, as in the file."""
    return rule_key(experiment.family, experiment.family_options)


def rule_key(name: str, options: Mapping[str, Any]) -> str:
    """A name with its options, as in the file."""
    given = ", ".join(f"{key}={value}" for key, value in sorted(options.items()))
    return f"{name}({given})" if given else name


@cache
def _cached() -> dict[str, dict[str, dict[str, float]]]:
    rates: dict[str, dict[str, dict[str, float]]] = json.loads(TUNED_RATES.read_text()) if TUNED_RATES.exists() else {}
    return rates


def with_tuned_rate(experiment: Experiment) -> Experiment:
    """A hand-designed rule and a teacher whose rates were not given get those tuned for step H; else unchanged."""
    tuned: dict[str, Any] = {}
    if experiment.rule in hand_designed() and "lr" not in experiment.rule_options:
        lr = tuned_rates(experiment.rule, family_judged(experiment), [experiment.horizon], experiment.rule_options)
        tuned["rule_options"] = {**experiment.rule_options, "lr": lr[experiment.horizon]}
    if experiment.imitate and not experiment.imitation_lr:
        check_imitation(experiment)
        lr = tuned_rates(experiment.imitate, family_judged(experiment), [experiment.horizon])
        tuned["imitation_lr"] = lr[experiment.horizon]
    return replace(experiment, **tuned) if tuned else experiment
