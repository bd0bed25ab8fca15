"""The two criteria of Prechelt (1998), "Early Stopping - But When?", section 2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from probact.judging.curves.base import CurveRule
from probact.judging.curves.prices import Array, Looks


@dataclass(frozen=True)
class GeneralizationLoss(CurveRule):
    """GL_alpha: stop at the first look with GL(t) > alpha.

        GL(t) = 100 (E_va(t) / E_opt(t) - 1),   E_opt(t) = min_{t' <= t} E_va(t')

    in percent.  Not defined where E_opt <= 0, which a loss that is no error can be: there it never stops.
    """

    def scores(self, looks: Looks) -> Array:
        best = np.minimum.accumulate(looks.valid, 1)
        positive = best > 0
        return np.where(positive, 100 * (looks.valid / np.where(positive, best, 1) - 1), -np.inf)

    def describe(self, threshold: float) -> str:
        return f"GL > {threshold:g} %"


@dataclass(frozen=True)
class ProgressQuotient(CurveRule):
    """PQ_alpha: stop at the first end of a strip of k looks, t = k, 2k, ..., with GL(t) / P_k(t) > alpha.

        P_k(t) = 1000 (sum_{t' = t-k+1}^{t} E_tr(t') / (k min_{t' = t-k+1}^{t} E_tr(t')) - 1)

    in per mille: by how much the mean training error of the strip is above its smallest.  Where the training loss
    stands still, P_k = 0, any loss of generalization stops.

    :ivar strip: k.
    """

    strip: int = 5

    def scores(self, looks: Looks) -> Array:
        found = np.full(looks.valid.shape, -np.inf)
        loss = GeneralizationLoss().scores(looks)
        for end in range(self.strip, looks.valid.shape[1], self.strip):
            strip = looks.train[:, end - self.strip + 1 : end + 1]
            lowest, mean = strip.min(1), strip.mean(1)
            progress = 1000 * (mean / np.where(lowest > 0, lowest, np.nan) - 1)
            with np.errstate(divide="ignore", invalid="ignore"):
                quotient = np.where(loss[:, end] > 0, loss[:, end] / np.maximum(progress, 0), 0.0)
            found[:, end] = np.where(np.isnan(progress) | np.isneginf(loss[:, end]), -np.inf, quotient)
        return found

    def describe(self, threshold: float) -> str:
        return f"PQ > {threshold:g}, strips of {self.strip}"
