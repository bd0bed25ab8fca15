"""How well halting is known: calibration, rank correlation, and steps against loss over prices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from probact.judging.stops import oracle, stop_by, tune_stop
from probact.judging.trajectory import Trajectory
from probact.stopping.base import StopRule


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's; NaN where one of them is constant."""
    from scipy.stats import spearmanr

    if len(a.unique()) < 2 or len(b.unique()) < 2:
        return math.nan
    return float(spearmanr(a.numpy(), b.numpy()).statistic)


class Calibration(NamedTuple):
    """Is P(halt <= t) the share of problems for which more steps than t would not have paid?

    Over all problems and steps, in bins of the predicted probability.

    :ivar predicted, observed: means in each bin, NaN in empty ones.
    :ivar entries: how many fall in each bin.
    :ivar error: mean |predicted - observed| over the entries (expected calibration error).
    """

    predicted: np.ndarray
    observed: np.ndarray
    entries: np.ndarray
    error: float


def calibration(path: Trajectory, cost: float, num_bins: int = 10) -> Calibration:
    """Calibration of the posterior followed online: sum_{s <= t} q(s|x) against whether the oracle's stop is <= t."""
    halted = torch.stack([known.halted for known in path.known if known.halted is not None])
    steps = torch.arange(1, len(halted) + 1).unsqueeze(-1)
    done = (oracle(path, cost) <= steps).double().flatten().numpy()
    predicted = halted.flatten().numpy()
    index = np.clip((predicted * num_bins).astype(int), 0, num_bins - 1)
    count = np.bincount(index, minlength=num_bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(index, predicted, num_bins) / count
        observed = np.bincount(index, done, num_bins) / count
    error = float(np.nansum(np.abs(mean - observed) * count) / count.sum())
    return Calibration(mean, observed, count, error)


def frontier(
    kind: type[StopRule], tuning: Trajectory, test: Trajectory, costs: Sequence[float]
) -> list[tuple[float, float]]:
    """Mean steps and mean loss of ``kind`` tuned for each price, on ``test``: its curve of steps against loss."""
    points = []
    for cost in costs:
        found = stop_by(tune_stop(kind, tuning, cost).rule, test, cost).summary()
        points.append((found["steps"], found["loss"]))
    return points
