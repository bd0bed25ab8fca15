"""Logistic regressions of mixed difficulty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent
from torch.nn import functional as F

from probact.problems.base import FAMILIES, Optimizee, OptimizeeFamily
from probact.support.refusals import check_range
from probact.support.trees import Params


@dataclass(frozen=True)
class LogisticModel(Optimizee):
    """nll = sum_i log(1 + e^{-y_i w_i theta}); rows w_i of ``design (L, n, d)``, y ``labels (L, n)`` in {-1, 1}."""

    design: Tensor
    labels: Tensor

    def _logits(self, params: Params) -> Tensor:
        return torch.bmm(self.design, params["theta"].unsqueeze(-1)).squeeze(-1)

    def nll(self, params: Params) -> Tensor:
        return F.softplus(-self.labels * self._logits(params)).sum(-1)

    def predictive(self, params: Params) -> Distribution:
        return Independent(Bernoulli(logits=self._logits(params)), 1)

    def observations(self) -> Tensor:
        return (self.labels + 1) / 2


@FAMILIES.register("logistic-mixed")
class LogisticMixed(OptimizeeFamily):
    """Logistic regressions of mixed difficulty: scale of W ~ e^N(0, 1), share of labels that are noise ~ U[0, 1].

    40 observations, 10 parameters.  Rows of W / scale are normal with covariance_ij = correlation^|i-j|, correlation
    ~ U[0, 0.99].  theta*, theta_0 ~ N(0, I); y ~ Bernoulli(sigmoid(W theta*)), or a coin for the noisy share.  Convex,
    not quadratic.  Nearly separable problems go on improving for ever, noisy ones are done in a few steps.  Optimum
    unknown.
    """

    recommended: ClassVar[Mapping[str, Any]] = {
        "halting_first": True,
        "horizon": 50,
        "horizon_prior": "flat",
        "lr": 0.01,
    }

    def __init__(self, dim: int = 10, observations: int = 40) -> None:
        check_range(self.label, at_least=1, dim=dim, observations=observations)
        self.dim = dim
        self.observations = observations

    def sample(self, num: int, generator: torch.Generator) -> LogisticModel:
        n, d = self.observations, self.dim
        scale = torch.exp(torch.randn(num, 1, 1, generator=generator))
        correlation = 0.99 * torch.rand(num, 1, 1, generator=generator)
        white = torch.randn(num, n, d, generator=generator)
        columns = [white[..., :1]]  # an autoregression along the columns has that covariance
        for j in range(1, d):
            columns.append(correlation * columns[-1] + (1 - correlation.square()).sqrt() * white[..., j : j + 1])
        design = scale * torch.cat(columns, -1)
        truth = torch.randn(num, d, 1, generator=generator)
        chance = torch.sigmoid((design @ truth).squeeze(-1))
        noisy = torch.rand(num, n, generator=generator) < torch.rand(num, 1, generator=generator)
        chance = torch.where(noisy, 0.5, chance)
        labels = 2 * (torch.rand(num, n, generator=generator) < chance).to(chance.dtype) - 1
        return LogisticModel({"theta": torch.randn(num, d, generator=generator)}, design, labels)
