"""Problems with a linear map inside: y ~ W theta, quadratic or with Gaussian or Student-t noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Cauchy, Distribution, Independent, Normal

from probact.problems.base import FAMILIES, Optimizee, OptimizeeFamily
from probact.support.refusals import check_range
from probact.support.trees import Params

Loss = Callable[[Tensor], Tensor]
"""Residuals ``(L, n)`` -> ``(L,)``."""


def sum_of_squares(residual: Tensor) -> Tensor:
    """|residual|^2."""
    return residual.square().sum(-1)


def gaussian_nll(residual: Tensor) -> Tensor:
    """-log of a standard normal density: |residual|^2 / 2 + n/2 log 2 pi."""
    return 0.5 * residual.square().sum(-1) + 0.5 * residual.shape[-1] * math.log(2 * math.pi)


def cauchy_nll(residual: Tensor) -> Tensor:
    """-log of n Student-t densities with one degree of freedom: sum log(1 + residual^2) + n log pi."""
    return torch.log1p(residual.square()).sum(-1) + residual.shape[-1] * math.log(math.pi)


def r4_nll(residual: Tensor) -> Tensor:
    """sum log(1 + residual^4) + n log pi: the prior code's Student-t, whose residual is squared twice."""
    return torch.log1p(residual.square().square()).sum(-1) + residual.shape[-1] * math.log(math.pi)


NOISE: Mapping[Loss, Callable[[Tensor, float], Distribution]] = {gaussian_nll: Normal, cauchy_nll: Cauchy}
"""The density of an observation about its mean, of the losses that are one (``r4_nll`` is off by log 2 / 2 each)."""


@dataclass(frozen=True)
class LinearModel(Optimizee):
    """nll = noise(W theta - y); ``design`` W ``(L, n, d)``, ``target`` y ``(L, n)``, theta ``(L, d)``.

    ``smallest (L,)``: the nll at the optimum.
    """

    design: Tensor
    target: Tensor
    smallest: Tensor
    noise: Loss = gaussian_nll

    def _mean(self, params: Params) -> Tensor:
        return torch.bmm(self.design, params["theta"].unsqueeze(-1)).squeeze(-1)

    def nll(self, params: Params) -> Tensor:
        return self.noise(self._mean(params) - self.target)

    def predictive(self, params: Params) -> Distribution | None:
        density = NOISE.get(self.noise)
        return density and Independent(density(self._mean(params), 1.0), 1)

    def observations(self) -> Tensor | None:
        return self.target if self.noise in NOISE else None

    def optimum(self) -> Tensor:
        return self.smallest

    @property
    def quadratic(self) -> bool:
        return self.noise in (sum_of_squares, gaussian_nll)


def solvable(design: Tensor, target: Tensor, start: Tensor, noise: Loss) -> LinearModel:
    """A problem whose W is square, so that the optimum has residual 0 (W ~ U[0, 1] is never singular)."""
    return LinearModel({"theta": start}, design, target, noise(torch.zeros_like(target)), noise)


def least_squares(design: Tensor, target: Tensor, start: Tensor) -> LinearModel:
    """A Gaussian regression with its optimum from the least-squares solution (SVD, in double precision)."""
    W, y = design.double(), target.double().unsqueeze(-1)
    solution = torch.linalg.lstsq(W, y, driver="gelsd", rcond=1e-6).solution
    smallest = gaussian_nll((W @ solution - y).squeeze(-1)).to(target.dtype)
    return LinearModel({"theta": start}, design, target, smallest, gaussian_nll)


@FAMILIES.register("quadratic")
class Quadratic(OptimizeeFamily):
    """|W theta - y|^2 in 10-d, W, y ~ U[0, 1], theta_0 ~ N(0, 0.01^2); optimum 0.

    ``scale`` multiplies W (for transfer).  Andrychowicz et al. 2016, section 3.1 (their code's U[0, 1], not the text's
    Gaussian).
    """

    quadratic = True

    def __init__(self, dim: int = 10, scale: float = 1.0) -> None:
        check_range(self.label, at_least=1, dim=dim)
        check_range(self.label, above=0, scale=scale)
        self.dim = dim
        self.scale = scale

    def sample(self, num: int, generator: torch.Generator) -> LinearModel:
        design = self.scale * torch.rand(num, self.dim, self.dim, generator=generator)
        target = torch.rand(num, self.dim, generator=generator)
        start = 0.01 * torch.randn(num, self.dim, generator=generator)
        return solvable(design, target, start, sum_of_squares)


class _ThesisRegression(OptimizeeFamily):
    """W (10 x 10), theta* ~ U[0, 1], y = W theta* + noise, theta_0 ~ N(0, I); ``scale`` multiplies W."""

    noise: ClassVar[Loss]

    def __init__(self, dim: int = 10, scale: float = 1.0) -> None:
        check_range(self.label, at_least=1, dim=dim)
        check_range(self.label, above=0, scale=scale)
        self.dim = dim
        self.scale = scale

    def sample_noise(self, num: int, generator: torch.Generator) -> Tensor:
        return torch.randn(num, self.dim, generator=generator)

    def sample(self, num: int, generator: torch.Generator) -> LinearModel:
        design = self.scale * torch.rand(num, self.dim, self.dim, generator=generator)
        truth = torch.rand(num, self.dim, 1, generator=generator)
        target = (design @ truth).squeeze(-1) + self.sample_noise(num, generator)
        start = torch.randn(num, self.dim, generator=generator)
        return solvable(design, target, start, type(self).noise)


@FAMILIES.register("regression")
class Regression(_ThesisRegression):
    """Linear regression with 10 parameters and 10 Gaussian observations; optimum 5 log 2 pi = 9.189.

    Sander 2017, section 5.2, with the prior code's U[0, 1] for theta*.
    """

    noise = gaussian_nll
    quadratic = True


@FAMILIES.register("student-t")
class StudentT(_ThesisRegression):
    """The same regression with Student-t(1) noise and likelihood; optimum 10 log pi = 11.447."""

    noise = cauchy_nll

    def sample_noise(self, num: int, generator: torch.Generator) -> Tensor:
        return torch.empty(num, self.dim).cauchy_(generator=generator)


@FAMILIES.register("student-t-r4")
class StudentTR4(StudentT):
    """Student-t data under the prior code's log(1 + residual^4), kept to compare with its figures; optimum 11.447."""

    noise = r4_nll


@FAMILIES.register("mixed")
class Mixed(OptimizeeFamily):
    """Gaussian regressions of mixed difficulty: rank of W ~ U{1..10}, scale of W ~ e^N(0, 0.7^2).

    W = scale left right / rank, with left (10 x rank) and right (rank x 10) ~ U[0, 1].  theta* ~ U[0, 1],
    y = W theta* + N(0, I), theta_0 ~ N(0, I).  The optimum is that of least squares: noise outside W's range stays.
    """

    quadratic = True
    recommended: ClassVar[Mapping[str, Any]] = {"halting_first": True}

    def __init__(self, dim: int = 10, log_scale: float = 0.7) -> None:
        check_range(self.label, at_least=1, dim=dim)
        check_range(self.label, at_least=0, log_scale=log_scale)
        self.dim = dim
        self.log_scale = log_scale

    def sample(self, num: int, generator: torch.Generator) -> LinearModel:
        d = self.dim
        rank = torch.randint(1, d + 1, (num, 1, 1), generator=generator)
        scale = torch.exp(self.log_scale * torch.randn(num, 1, 1, generator=generator))
        kept = (torch.arange(d).view(1, 1, d) < rank).to(scale.dtype)
        left = torch.rand(num, d, d, generator=generator) * kept
        right = torch.rand(num, d, d, generator=generator)
        design = scale * (left @ right) / rank
        truth = torch.rand(num, d, 1, generator=generator)
        target = (design @ truth).squeeze(-1) + torch.randn(num, d, generator=generator)
        return least_squares(design, target, torch.randn(num, d, generator=generator))
