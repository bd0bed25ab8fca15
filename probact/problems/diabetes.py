"""Regressions on real data: scikit-learn's diabetes set."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from probact.problems.base import FAMILIES, OptimizeeFamily
from probact.problems.linear import LinearModel, least_squares


@cache
def _diabetes() -> tuple[Tensor, Tensor]:
    """Features ``(442, 10)`` and disease progression ``(442,)``, standardised to mean 0 and variance 1."""
    from sklearn.datasets import load_diabetes

    features, target = load_diabetes(return_X_y=True, scaled=False)
    X, y = torch.as_tensor(features), torch.as_tensor(target)
    return (X - X.mean(0)) / X.std(0), (y - y.mean()) / y.std()


@FAMILIES.register("diabetes")
class Diabetes(OptimizeeFamily):
    """Regression on a random subset of the 442 x 10 diabetes data and a random mix of targets.

    Each problem takes ``rows`` patients without replacement.  It predicts ``share y + (1 - share) X beta`` by Gaussian
    regression with unit noise: y is the disease progression, share ~ U[0, 1], beta ~ N(0, I / 10).  theta_0 ~
    N(0, 0.1^2).  The features are strongly collinear (condition number of
    X'X ~ 470), which is what makes it slow.  Data: Efron et al. 2004, in scikit-learn (BSD).
    """

    quadratic = True

    def __init__(self, rows: int = 64) -> None:
        if not 1 <= rows <= 442:
            raise ValueError(f"family 'diabetes': expected rows in 1..442, got {rows}")
        self.rows = rows

    def sample(self, num: int, generator: torch.Generator) -> LinearModel:
        features, progression = (data.to(torch.get_default_dtype()) for data in _diabetes())
        chosen = torch.rand(num, len(features), generator=generator).argsort(-1)[:, : self.rows]
        design, target = features[chosen], progression[chosen]
        mix = torch.rand(num, 1, generator=generator)
        dim = features.shape[1]
        weights = torch.randn(num, dim, 1, generator=generator) / dim**0.5
        target = mix * target + (1 - mix) * (design @ weights).squeeze(-1)
        return least_squares(design, target, 0.1 * torch.randn(num, dim, generator=generator))
