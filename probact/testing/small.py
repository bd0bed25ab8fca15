"""A few problems and a small objective, for checks that take a second."""

from __future__ import annotations

from typing import Any

import torch

from probact.inference.objectives.base import Objective
from probact.problems.base import FAMILIES, Optimizee
from probact.runs.assembly import build_objective
from probact.runs.experiment import Experiment
from probact.support.sight import Sight

HORIZON = 7
NUM = 5


def problems(family: str, num: int = NUM, seed: int = 0, **options: Any) -> Optimizee:
    """``num`` problems of the default type."""
    sampled: Optimizee = FAMILIES[family](**options).sample(num, torch.Generator().manual_seed(seed))
    return sampled.to(torch.get_default_dtype())


def objective(**settings: Any) -> Objective:
    """Of the default type, with a head that is far from its start, so that nothing is near uniform by chance."""
    built = build_objective(
        Experiment.create(**{"family": "regression", "horizon": HORIZON, "prior_nu": 0.8, "truncate": 0, **settings})
    )
    built.to(torch.get_default_dtype())
    if built.posterior is not None:
        with torch.no_grad():
            built.posterior.output.weight.mul_(10.0)
            built.posterior.output.bias.fill_(-1.0)
    return built


def families_for(sight: Sight) -> list[str]:
    """Names of families on which a rule that sees this is tried."""
    if sight is Sight.GRADIENT:
        return ["regression", "digits"]
    if sight is Sight.VALUE:
        return ["gp-1d"]
    return [name for name in FAMILIES if sight in FAMILIES[name].shows]
