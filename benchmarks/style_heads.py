"""Halting posteriors of style's trained rules, learned on paths that are recorded once.

With the rule frozen no path depends on what is learned.  So each crop is optimized once, and what another round over
the crops costs is the head alone: hundreds of times less than new crops.  A factor on the loss is another price of a
step: each crop of a batch is seen at a price of its own, and one head serves them all.
"""

from __future__ import annotations

import copy
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from style_paths import APART, HORIZON, TRAINED, Rows

from probact.inference.objectives.base import Objective
from probact.inference.price import nu_of, price_of
from probact.runs.assembly import build_objective, start_from
from probact.runs.experiment import Experiment
from probact.runs.trained import TrainedOptimizer
from probact.support.randomness import random_stream

CHEAPEST, DEAREST = 0.001, 0.02
"""Prices of a step, in units of the loss, that a head learns at."""
VALIDATED_AT = (0.002, 0.01)
BATCH, LR = 24, 5e-3
KAPPA = 0.1
"""Of the KL: q is nearer to the best step alone than with 1, and its hazard rises more steeply where that is."""


class Learned(NamedTuple):
    """:ivar validations: meta-step -> objective on the crops apart."""

    trained: TrainedOptimizer
    validations: dict[int, float]
    seconds: float


def head_settings(source: Path, **changed: Any) -> dict[str, Any]:
    """At the family's own price of a step."""
    return {
        "family": "style", "family_options": TRAINED, "rule": "subspace", "begin_with": str(source),
        "freeze_rule": True, "horizon": HORIZON, "log_loss_weight": 0.0, "kl_scale": KAPPA,
        "prior_nu": nu_of(price_of(Experiment.create(family="style").prior_nu), KAPPA), **changed,
    }  # fmt: skip


def learn(paths: Rows, experiment: Experiment, source: TrainedOptimizer, scale: float, meta_steps: int) -> Learned:
    """A halting posterior for the rule of ``source`` from its ``paths``, the last of which are for validation.

    :param scale: s of the loss of ``paths``, at which a step costs .002.
    """
    objective = build_objective(experiment)
    start_from(objective, source, experiment)
    base = experiment.step_cost * scale
    weights = [weight for weight in objective.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(weights, LR)
    num = paths.nll.shape[1] - APART
    apart = paths.select(torch.arange(num, num + APART))
    best, kept, validations = math.inf, copy.deepcopy(objective.state_dict()), {}
    begun = time.process_time()
    for step in range(meta_steps):
        random = random_stream("train", experiment.seed, step)
        chosen = torch.randperm(num, generator=random)[:BATCH]
        prices = CHEAPEST * (DEAREST / CHEAPEST) ** torch.rand(len(chosen), generator=random)
        some = paths.select(chosen).scaled(base / prices)
        optimizer.param_groups[0]["lr"] = LR * 0.5 * (1 + math.cos(math.pi * step / meta_steps))
        optimizer.zero_grad()
        _loss(objective, some, experiment).backward()
        torch.nn.utils.clip_grad_norm_(weights, experiment.clip)
        optimizer.step()
        if (step + 1) % 20 == 0 or step + 1 == meta_steps:
            with torch.no_grad():
                at = [float(_loss(objective, apart.scaled(base / price), experiment)) for price in VALIDATED_AT]
            validations[step + 1] = found = sum(at) / len(at)
            if found < best:
                best, kept = found, copy.deepcopy(objective.state_dict())
    objective.load_state_dict(kept)
    one = TrainedOptimizer(
        source.rule, source.options, objective.posterior, experiment.prior_nu, HORIZON, experiment.kl_scale
    )
    return Learned(one, validations, time.process_time() - begun)


def _loss(objective: Objective, paths: Rows, experiment: Experiment) -> torch.Tensor:
    looks = experiment.build_looks()
    assert looks is not None
    return objective.losses(paths.rollout(looks)).mean()
