"""From settings to parts: family, rule, halting posterior and objective.  Nothing here trains or reads data."""

from __future__ import annotations

from dataclasses import replace

import torch

from probact.inference.objectives.base import OBJECTIVES, Objective
from probact.inference.posteriors.base import NO_HALTING, POSTERIORS, HaltingPosterior
from probact.rules.base import RULES, UpdateRule
from probact.rules.hand_designed import hand_designed
from probact.rules.safeguarded import Safeguarded, bare
from probact.runs.experiment import Experiment
from probact.runs.trained import TrainedOptimizer
from probact.support.randomness import random_stream
from probact.support.refusals import said
from probact.support.sight import Sight
from probact.unrolling.progress import NUM_FEATURES
from probact.unrolling.rollout import Rollout
from probact.unrolling.walk import Unrolling


def family_judged(experiment: Experiment) -> Experiment:
    """The experiment on the family that its results are of: of a mixture the first part, of any other its own."""
    first = experiment.build_family().members[0]
    return experiment if first.name == experiment.family else replace(experiment, family=first.name, family_options={})


def num_coordinates(experiment: Experiment) -> int:
    """Coordinates that a step moves, of all problems of a batch together."""
    problem = experiment.build_family().sample(1, random_stream("train", experiment.seed))
    return experiment.batch * sum(tensor.numel() for tensor in problem.theta0.values())


def build_objective(experiment: Experiment) -> Objective:
    """The objective with rule and halting posterior in their initial state, a function of ``experiment.seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_stream("weights", experiment.seed).initial_seed())
        rule = RULES.build(experiment.rule, dict(experiment.rule_options))
        if experiment.freeze_rule:
            rule.requires_grad_(False)
        if not isinstance(rule.num_features, int):
            raise ValueError(f"{rule.label}: num_features: expected a whole number, got {said(rule.num_features)}")
        if experiment.safeguard:
            rule = Safeguarded(rule)
        prior = experiment.build_prior()
        unrolling = Unrolling(
            experiment.truncate or None,
            experiment.through_path,
            experiment.recompute,
            experiment.compiled,
            experiment.by_segment,
            looks := experiment.build_looks(),
        )
        if experiment.halting == NO_HALTING:
            posterior, name = None, experiment.objective or "sum-of-losses"
        else:
            name = experiment.objective or POSTERIORS[experiment.halting].objective
            kind, nu, units = experiment.halting, experiment.prior_nu, experiment.head_units
            posterior = HaltingPosterior.of(rule, kind, nu, looks, units)
        parts = {"rule": rule, "posterior": posterior, "horizon": prior, "unrolling": unrolling}
        settings = {key: value for key, value in vars(experiment).items() if key in OBJECTIVES.keywords(name)}
        objective = OBJECTIVES.build(name, experiment.objective_options, **{**settings, **parts})
    return objective.to(experiment.device)


def start_from(objective: Objective, source: TrainedOptimizer, experiment: Experiment) -> None:
    """Let ``objective`` take over the rule's weights, and those of a halting posterior of the same kind and shape.

    A rule that is made of others takes over those of one of its parts.

    :raises ValueError: if ``source`` holds another rule than ``experiment``, or the same with other options.
    """
    ours, theirs = objective.posterior, source.posterior
    rule = bare(objective.rule)
    try:
        rule.parts.get(source.rule.name, rule).load_state_dict(source.rule.state_dict())
    except RuntimeError:
        raise ValueError(
            f"begin-with: expected the weights of rule {experiment.rule!r} with options "
            f"{dict(experiment.rule_options)}, got {source.rule.name!r} with {dict(source.options)}"
        ) from None
    if ours is not None and theirs is not None and ours.fits(theirs):
        ours.load_state_dict(theirs.state_dict())


def check_trainable(experiment: Experiment, num_ranks: int = 1) -> None:
    """Refuse what cannot be trained.

    :param num_ranks: the processes that train together.
    :raises ValueError: if nothing has weights, a part does not fit another, or there are fewer problems than processes.
    """
    if min(experiment.batch, experiment.validation_problems) < num_ranks:
        raise ValueError(
            f"expected a problem for each of the {num_ranks} processes, got batch {experiment.batch} "
            f"and validation-problems {experiment.validation_problems}"
        )
    experiment.build_family()
    objective = build_objective(experiment)
    check_seen(objective.rule, experiment)
    if not any(weight.requires_grad for weight in objective.parameters()):
        why = "is frozen" if experiment.freeze_rule else "has no weights"
        raise ValueError(f"nothing to train: rule {experiment.rule!r} {why} and halting is {experiment.halting!r}")
    if not any(weight.requires_grad for weight in objective.rule.parameters()) and not _teaches_halting(objective):
        why = "is frozen" if experiment.freeze_rule else "has no weights"
        raise ValueError(
            f"nothing to train: rule {experiment.rule!r} {why} and objective {objective.name!r} "
            f"does not depend on the halting posterior {experiment.halting!r}"
        )
    if experiment.tell_horizon and not objective.rule.plans:
        planning = ", ".join(name for name in RULES if RULES.build(name).plans)
        raise ValueError(f"tell-horizon: expected a rule that plans ({planning}), got {experiment.rule!r}")
    if experiment.gradient == "pes" and not any(weight.requires_grad for weight in objective.rule.parameters()):
        raise ValueError(f"gradient pes: expected a rule with weights, got {experiment.rule!r}")
    if experiment.gradient == "pes" and not bare(objective.rule).is_one_graph:
        whole = [name for name in RULES if RULES[name].is_one_graph]
        raise ValueError(
            f"gradient pes: expected a rule without branches ({', '.join(whole)}), got {experiment.rule!r}"
        )
    if experiment.imitate:
        check_imitation(experiment)


def check_seen(rule: UpdateRule, experiment: Experiment) -> None:
    """:raises ValueError: on a setting that is for rules that see the gradient, with another."""
    asked = {
        "looks": bool(experiment.looks),
        "random-scaling": bool(experiment.random_scaling),
        "imitate": bool(experiment.imitate),
        "compile": experiment.compiled,
        "gradient pes": experiment.gradient == "pes",
    }
    for name in (name for name, is_asked in asked.items() if is_asked and rule.sees is not Sight.GRADIENT):
        raise ValueError(
            f"{name}: expected a rule that sees {Sight.GRADIENT.value}, got {rule.label}, which sees {rule.sees.value}"
        )


def _teaches_halting(objective: Objective) -> bool:
    """Whether the objective has a gradient for the halting posterior, seen on two steps of one problem."""
    device = next(objective.parameters()).device
    num_features = NUM_FEATURES if objective.posterior is None else objective.posterior.memory.input_size
    features = torch.zeros(2, 1, num_features, device=device)
    rollout = Rollout(torch.ones(3, 1, device=device), features, {})
    return objective.capped(2).totals(rollout).requires_grad


def check_imitation(experiment: Experiment) -> None:
    """:raises ValueError: if the student has no weights."""
    if experiment.rule in hand_designed():
        raise ValueError(f"imitate: expected a rule with weights that learns, got {experiment.rule!r}")
