"""The usual ways to stop: a budget, patience, patience that grows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from probact.judging.curves.base import CurveRule
from probact.judging.curves.prices import Array, Looks, best_so_far
from probact.stopping.base import Known
from probact.stopping.rules import Patience as OnlinePatience


@dataclass(frozen=True)
class Everything(CurveRule):
    """No stop: all looks that there are."""

    def scores(self, looks: Looks) -> Array:
        return np.full(looks.valid.shape, -np.inf)

    def describe(self, threshold: float) -> str:
        return "never stopped"


@dataclass(frozen=True)
class Budget(CurveRule):
    """The same number of looks for every curve."""

    def scores(self, looks: Looks) -> Array:
        return np.broadcast_to(np.arange(looks.valid.shape[1], dtype=float), looks.valid.shape)

    def describe(self, threshold: float) -> str:
        return f"{threshold:.0f} looks"


@dataclass(frozen=True)
class Patience(CurveRule):
    """No gain of more than ``least`` prices for so many looks: ``stopping.rules.Patience`` on losses in prices.

    :ivar share: of the fall from the first loss to the best one, added to ``least``.
    """

    least: float = 0.0
    share: float = 0.0

    def scores(self, looks: Looks) -> Array:
        rule = OnlinePatience(epsilon=self.least, share=self.share)
        columns = torch.from_numpy(looks.valid).T
        nothing = torch.zeros_like(columns[0])
        memory, rows = rule.init(nothing), []
        for t, loss in enumerate(columns):
            score, memory = rule.score(Known(t, loss, nothing, None, None), memory)
            rows.append(score)
        return torch.stack(rows, 1).numpy()

    def describe(self, threshold: float) -> str:
        parts = [f"{self.least:g} prices"] * (self.least > 0) + [f"{self.share:g} of the fall"] * (self.share > 0)
        return f"{threshold:.0f} looks" + (f", gains above {' + '.join(parts)}" if parts else "")


@dataclass(frozen=True)
class GrowingPatience(CurveRule):
    """No new best for a share of the looks so far: early plateaus get less time than late ones.

    :ivar least: the share is one of at least so many looks.
    """

    least: int = 5

    def scores(self, looks: Looks) -> Array:
        t = np.arange(looks.valid.shape[1])
        return (t - best_so_far(looks.valid)) / np.maximum(t, self.least)

    def describe(self, threshold: float) -> str:
        return f"{threshold:.0%} of the looks, of {self.least} at least"
