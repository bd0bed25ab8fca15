"""Problems of which one goes bad on the way, and what a training makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probact.problems.base import Optimizee
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


def spoilt(sample: Callable[..., Optimizee], how: str, which: int, without: bool = False) -> Callable[..., Optimizee]:
    """``sample``, with problem ``which`` of each batch bad; or with ``without`` left out."""

    def bad(*given: Any) -> Optimizee:
        inner = sample(*given)
        numbers = torch.arange(inner.num)
        problems = Spoilt(inner.theta0, inner, numbers == which, inner.theta0["theta"], how)
        return problems.select(numbers != which) if without else problems

    return bad


def trained(experiment: Experiment, how: str, which: int, without: bool = False) -> MetaTraining:
    """All meta-steps of ``experiment`` on spoilt problems."""
    training = MetaTraining(experiment)
    training._sample = spoilt(training._sample, how, which, without)  # type: ignore[method-assign]
    list(training)
    return training


def same_as_without(experiment: Experiment, how: str, which: int) -> tuple[MetaTraining, Any]:
    """The training with one bad problem in each batch, and the weights of the one without."""
    return trained(experiment, how, which), trained(experiment, how, which, without=True).objective.state_dict()
