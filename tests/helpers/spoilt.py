"""Problems of which one goes bad on the way, and what a training makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probact.problems.base import Optimizee, OptimizeeFamily
from probact.runs.experiment import Experiment
from probact.support.trees import Params
from probact.training.meta_training import MetaTraining

FAR = 1e-4
"""How far from theta_0, squared, it goes bad: after a step or two."""


@dataclass(frozen=True)
class Spoilt(Optimizee):
    """``inner``, with something wrong with the problems in ``bad (L,)``, everywhere or away from ``origin``."""

    inner: Optimizee
    bad: Tensor
    origin: Tensor
    how: str

    def nll(self, params: Params) -> Tensor:
        nll, theta = self.inner.nll(params), params["theta"]
        away = self.bad & ((theta - self.origin).square().sum(-1).detach() > FAR)
        if self.how == "giant":
            return torch.where(self.bad, 1e25, 1.0) * nll
        if self.how == "nan":
            return torch.where(self.bad, torch.nan, nll)
        if self.how == "overflow":
            return torch.where(away, 1e30, 1.0) * nll.clamp_min(1.0) * torch.where(away, 1e30, 1.0)
        if self.how == "cliff":
            return torch.where(away, torch.nan, nll)
        return nll + torch.where(away.unsqueeze(-1), 0 * theta, 1 + 0 * theta).sqrt().sum(-1)  # a gradient of 0 / 0


HOW = ("overflow", "cliff", "gradient", "giant", "nan")


def spoil(family: OptimizeeFamily, how: str, which: int | None, without: bool = False) -> None:
    """Let problem ``which`` of each batch be bad; or with ``without`` leave it out."""
    sample = family.sample

    def spoilt(num: int, random: torch.Generator) -> Optimizee:
        inner = sample(num, random)
        numbers, origin = torch.arange(num), inner.theta0["theta"]
        problems = Spoilt(inner.theta0, inner, numbers == which, origin, how)
        return problems.select(numbers != which) if without else problems

    family.sample = spoilt  # type: ignore[method-assign]


def trained(experiment: Experiment, how: str, which: int, without: bool = False) -> MetaTraining:
    """All meta-steps of ``experiment`` on spoilt problems."""
    training = MetaTraining(experiment)
    spoil(training.family, how, which, without)
    list(training)
    return training


def same_as_without(experiment: Experiment, how: str, which: int) -> tuple[MetaTraining, Any]:
    """The training with one bad problem in each batch, and the weights of the one without."""
    return trained(experiment, how, which), trained(experiment, how, which, without=True).objective.state_dict()
