"""Loss curves of any rule on held-out problems, and the tuned baseline beside them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from probact.experiment import Experiment, generator
from probact.optimizees.base import Optimizee
from probact.registry import RULES
from probact.rollout import unroll
from probact.rules.base import UpdateRule
from probact.rules.handcrafted import HandDesigned

TUNING_PROBLEMS = 128


def loss_curve(rule: UpdateRule, optimizee: Optimizee, num_steps: int) -> Tensor:
    """nll of every problem after 0..``num_steps`` steps, ``(num_steps + 1, L)``; inf where it diverged."""
    with torch.no_grad():
        return unroll(rule, optimizee, num_steps).nll


def held_out_problems(experiment: Experiment, num: int | None = None, seed: int = 0) -> Optimizee:
    """Held-out problems of the experiment's family: no other stream of random numbers makes them."""
    family = experiment.build_family()
    return family.sample(num or experiment.test_problems, generator("test", seed)).to(experiment.device)


class Tuned(NamedTuple):
    """A hand-designed rule at its best learning rate ``lr`` on the tuning problems."""

    rule: HandDesigned
    lr: float


def tune(name: str, experiment: Experiment, options: Mapping[str, Any] = MappingProxyType({})) -> Tuned:
    """The learning rate of rule ``name`` with the smallest mean loss at step H, on problems of their own.

    ``options`` are the rule's other options.  The grid is ``HandDesigned.learning_rates``; a rate at which fewer
    problems diverge wins in any case.
    """
    problems = experiment.build_family().sample(TUNING_PROBLEMS, generator("tuning", 0)).to(experiment.device)

    def rule(lr: float) -> HandDesigned:
        return RULES.build(name, {**options, "lr": lr})

    def score(lr: float) -> tuple[int, float]:
        final = loss_curve(rule(lr), problems, experiment.horizon)[-1]
        survived = final.isfinite()
        return int((~survived).sum()), float(final[survived].mean())

    best = min(RULES[name].learning_rates, key=score)
    return Tuned(rule(best), best)


def losses_at(nll: Tensor, steps: list[int]) -> dict[str, float]:
    """Mean over the problems of ``nll (K + 1, L)`` at the steps that exist, as ``{"10": 9.8, ...}``."""
    return {str(step): float(nll[step].double().mean()) for step in steps if step < len(nll)}


def reported_steps(horizon: int) -> list[int]:
    """1, 5, 10, 20, 50 and H, as far as H reaches."""
    return sorted({step for step in (1, 5, 10, 20, 50) if step < horizon} | {horizon})
