"""Logistic regressions on real data: scikit-learn's breast-cancer set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent
from torch.nn import functional as F

from probact.problems.base import FAMILIES, Labels, Optimizee, OptimizeeFamily, Score, Shared
from probact.support.trees import Params


@cache
def _breast_cancer() -> Shared:
    """A column of ones beside the standardised features, ``(569, 31)``, and labels in {-1, 1}, 1 for benign."""
    from sklearn.datasets import load_breast_cancer

    features, benign = load_breast_cancer(return_X_y=True)
    X, y = torch.as_tensor(features), torch.as_tensor(benign)
    X = (X - X.mean(0)) / X.std(0)
    return Shared((torch.cat([torch.ones(len(X), 1, dtype=X.dtype), X], 1).float(), (2 * y - 1).float()))


@dataclass(frozen=True)
class Diagnoses(Optimizee):
    """nll = sum over a problem's patients i of log(1 + e^{-sign_i y_i w_i theta}), theta ``(L, 31)``.

    :ivar signs: ``(L, 569)``: 1 for the patients that are x, -1 for those whose diagnosis is wrong, 0 for the others,
        which test it.
    :ivar data: rows w_i ``(569, 31)`` and labels y_i in {-1, 1} ``(569,)`` of all patients.
    """

    signs: Tensor
    data: Shared

    def _margins(self, params: Params) -> Tensor:
        """y_i w_i theta of all patients, ``(L, 569)``."""
        rows, labels = self.data.tensors
        return labels * (params["theta"] @ rows.T)

    def nll(self, params: Params) -> Tensor:
        return torch.where(self.signs == 0, 0.0, F.softplus(-self.signs * self._margins(params))).sum(-1)

    def _observed(self) -> Tensor:
        """The patients that are x, ``(L, n)`` int64; as many of each problem."""
        return self.signs.nonzero()[:, 1].view(len(self.signs), -1)

    def predictive(self, params: Params) -> Distribution:
        logits = params["theta"] @ self.data.tensors[0].T
        return Independent(Bernoulli(logits=logits.gather(1, self._observed())), 1)

    def observations(self) -> Tensor:
        return ((self.signs * self.data.tensors[1] + 1) / 2).gather(1, self._observed())

    def held_out_labels(self, params: Params) -> Labels:
        """Of the patients that are not x, by their true diagnoses."""
        rows, labels = self.data.tensors
        others = (self.signs == 0).nonzero()[:, 1].view(len(self.signs), -1)
        logits = (params["theta"] @ rows.T).gather(1, others)
        return Labels(torch.sigmoid(torch.stack([-logits, logits], -1)), (labels[others] > 0).long())

    def test_score(self, params: Params) -> Score:
        """On the patients that are not x, each problem its own, by their true diagnoses."""
        margins = self._margins(params)
        losses, right = F.softplus(-margins), (margins > 0).to(margins.dtype)
        others = self.signs == 0
        return Score(*(torch.where(others, values, 0.0).sum(-1) / others.sum(-1) for values in (losses, right)))


@FAMILIES.register("breast-cancer")
class BreastCancer(OptimizeeFamily):
    """Logistic regression on a random subset of the 569 x 30 breast-cancer data, malignant against benign.

    Each problem takes ``rows`` patients without replacement, standardised features and an intercept, and their whole
    gradient; theta_0 ~ N(0, 0.1^2); the patients left are its test set.  Diagnoses in x are wrong with a probability
    ~ U[0.05, 0.25]: the data itself is separable, the loss would fall to 0 for ever.  The features are collinear
    (condition number of X'X ~ 10^5).  Data: Street, Wolberg and Mangasarian 1993, in scikit-learn (BSD).
    """

    recommended: ClassVar[Mapping[str, Any]] = {
        "halting_first": True,
        "validation_problems": 4,
        "test_problems": 256,
    }

    def __init__(self, rows: int = 200) -> None:
        if not 1 <= rows <= 568:
            raise ValueError(f"family 'breast-cancer': expected rows in 1..568, got {rows}")
        self.rows = rows

    def sample(self, num: int, generator: torch.Generator) -> Diagnoses:
        rows, _ = _breast_cancer().tensors
        order = torch.rand(num, len(rows), generator=generator).argsort(-1)
        start = 0.1 * torch.randn(num, rows.shape[1], generator=generator)
        error = 0.05 + 0.2 * torch.rand(num, 1, generator=generator)
        wrong = torch.rand(num, len(rows), generator=generator) < error
        signs = torch.where(order < self.rows, torch.where(wrong, -1.0, 1.0), 0.0)
        return Diagnoses({"theta": start}, signs, _breast_cancer())
