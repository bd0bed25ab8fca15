"""Imitation: at first a learned rule is also drawn towards the steps of a hand-designed one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from probact.inference.objectives.base import Objective
from probact.problems.base import Optimizee
from probact.rules.base import Step, UpdateRule
from probact.rules.hand_designed import HandDesigned, hand_designed
from probact.runs.experiment import Experiment
from probact.support.trees import Params, State, flatten, map_params
from probact.unrolling.rollout import Rollout

_FAR = 1e15
"""Lengths of the teacher's step beyond which the distance is not counted: its square is to stay a number."""


def teacher_of(experiment: Experiment) -> HandDesigned:
    """The experiment's teacher.

    :raises ValueError: without a learning rate; ``judging.tuning.with_tuned_rate`` finds one.
    """
    if not experiment.imitation_lr:
        raise ValueError("imitate: expected imitation-lr, the teacher's learning rate, got none")
    return hand_designed()[experiment.imitate](lr=experiment.imitation_lr)


def imitate(
    objective: Objective,
    teacher: HandDesigned,
    weight: float,
    optimizee: Optimizee,
    anneal: float = 1.0,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[Tensor, Rollout]]:
    """``Objective.scored_unrolls`` plus ``weight`` times the mean over problems and steps of |u_t - v_t|^2 / |v_t|^2.

    u_t is the rule's step at theta_t and v_t the teacher's, t = 1..K as for halting.  (Chen et al. 2020, arXiv
    2010.09089, section 3.2, with the teacher on the student's path: there the two paths are compared, which part.)
    """
    own = objective.rule.num_features
    for rollout in objective.unrolls(optimizee, generator, Apprentice(objective.rule, teacher)):
        features, distance, of_unroll = rollout.features.split([own, 1, rollout.features.shape[-1] - own - 1], -1)
        seen = rollout._replace(features=torch.cat([features, of_unroll], -1))
        kept = seen.nll.isfinite().all(0)
        yield objective.score(seen, anneal) + weight * distance[:, kept].mean(), seen


class Lesson(NamedTuple):
    """The memories of both rules."""

    student: State
    teacher: State


class Apprentice(UpdateRule):
    """``rule``, with one more feature, the last: how far its step u is from the teacher's step v, |u - v|^2 / |v|^2.

    The teacher sees the student's path and its gradients, and remembers what it would have remembered there.  The
    distance counts as 0, without gradient, where v is 0 or either is beyond all bounds.
    """

    def __init__(self, rule: UpdateRule, teacher: HandDesigned) -> None:
        super().__init__()
        self.rule = rule
        self.teacher = teacher
        self.num_features = rule.num_features + 1

    def init(self, params: Params) -> State:
        return Lesson(self.rule.init(params), self.teacher.init(params))

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        step = self.rule.step(grads, state.student, params, loss)
        with torch.no_grad():
            shown, memory = self.teacher.update(grads, state.teacher, params)
            memory = self.teacher.after_foreign_step(memory, map_params(Tensor.detach, step.update))
        features = torch.cat([step.features, _distance(flatten(step.update), flatten(shown)).unsqueeze(-1)], -1)
        return Step(step.update, Lesson(step.state, memory), features)


def _distance(update: Tensor, shown: Tensor) -> Tensor:
    """|u - v|^2 / |v|^2 for u, v ``(L, d)``."""
    with torch.no_grad():
        length = shown.norm(dim=-1, keepdim=True)
        counts = (update - shown).norm(dim=-1, keepdim=True) < _FAR * length
        counts = counts & length.isfinite()
    away = torch.where(counts, update - shown, 0.0) / torch.where(counts, length, 1.0)
    return away.square().sum(-1)
