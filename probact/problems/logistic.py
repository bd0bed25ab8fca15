"""Logistic regressions of mixed difficulty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent
from torch.nn import functional as F

from probact.problems.base import FAMILIES, Labels, Optimizee, OptimizeeFamily
from probact.support.refusals import check_range
from probact.support.trees import Params


@dataclass(frozen=True)
class LogisticModel(Optimizee):
    """nll = sum_i log(1 + e^{-y_i w_i theta}); rows w_i of ``design (L, n, d)``, y ``labels (L, n)`` in {-1, 1}.

    ``new_design``, ``new_labels``: as many more rows, held out.
    """

    design: Tensor
    labels: Tensor
    new_design: Tensor
    new_labels: Tensor

    def _logits(self, params: Params) -> Tensor:
        return torch.bmm(self.design, params["theta"].unsqueeze(-1)).squeeze(-1)

    def nll(self, params: Params) -> Tensor:
        return F.softplus(-self.labels * self._logits(params)).sum(-1)

    def held_out_labels(self, params: Params) -> Labels:
        logits = torch.bmm(self.new_design, params["theta"].unsqueeze(-1)).squeeze(-1)
        return Labels(torch.sigmoid(torch.stack([-logits, logits], -1)), (self.new_labels > 0).long())

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
        truth = torch.randn(num, d, 1, generator=generator)
        noisy = torch.rand(num, n, generator=generator), torch.rand(num, 1, generator=generator)
        design = scale * _correlated(white, correlation)
        labels = _labels(design, truth, *noisy, torch.rand(num, n, generator=generator))
        theta0 = {"theta": torch.randn(num, d, generator=generator)}
        # Numbers apart, that take none from ``generator``: what else it draws does not depend on what is held out.
        apart = torch.Generator()
        apart.set_state(generator.get_state())
        apart.manual_seed(int(torch.randint(2**62, (), generator=apart)))
        new = scale * _correlated(torch.randn(num, n, d, generator=apart), correlation)
        chances = torch.rand(2, num, n, generator=apart)
        return LogisticModel(theta0, design, labels, new, _labels(new, truth, chances[0], noisy[1], chances[1]))


def _correlated(white: Tensor, correlation: Tensor) -> Tensor:
    """An autoregression along the columns, whose covariance_ij is correlation^|i-j|."""
    columns = [white[..., :1]]
    for j in range(1, white.shape[-1]):
        columns.append(correlation * columns[-1] + (1 - correlation.square()).sqrt() * white[..., j : j + 1])
    return torch.cat(columns, -1)


def _labels(design: Tensor, truth: Tensor, chance_of_noise: Tensor, noise: Tensor, chance: Tensor) -> Tensor:
    """y ~ Bernoulli(sigmoid(W theta*)), or a coin for the noisy share; {-1, 1}."""
    probability = torch.sigmoid((design @ truth).squeeze(-1))
    probability = torch.where(chance_of_noise < noise, 0.5, probability)
    return 2 * (chance < probability).to(probability.dtype) - 1
