"""How well halting is known: calibration, and steps against loss over prices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from probact.judging.results import Calibration
from probact.judging.stops import oracle, stop_by, tune_stop
from probact.judging.trajectory import Trajectory
from probact.stopping.base import StopRule


def calibration(path: Trajectory, cost: float, num_bins: int = 10) -> Calibration:
    """Calibration of the posterior followed online: sum_{s <= t} q(s|x) against whether the oracle's stop is <= t."""
    halted = torch.stack([known.halted for known in path.known if known.halted is not None])
    steps = torch.arange(1, len(halted) + 1).unsqueeze(-1)
    done = oracle(path, cost) <= steps
    return reliability(halted.flatten().numpy(), done.flatten().numpy(), num_bins)


def reliability(predicted: np.ndarray, happened: np.ndarray, num_bins: int = 10) -> Calibration:
    """Of probabilities ``predicted (n,)`` and whether it ``happened (n,)``, in bins of equal width."""
    index = np.clip((predicted * num_bins).astype(int), 0, num_bins - 1)
    count = np.bincount(index, minlength=num_bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(index, predicted, num_bins) / count
        observed = np.bincount(index, happened, num_bins) / count
    error = float(np.nansum(np.abs(mean - observed) * count) / count.sum())
    return Calibration(
        predicted=tuple(mean.tolist()), observed=tuple(observed.tolist()), entries=tuple(count.tolist()), error=error
    )


def frontier(
    kind: type[StopRule], tuning: Trajectory, test: Trajectory, costs: Sequence[float]
) -> tuple[tuple[float, float], ...]:
    """Mean steps and mean loss of ``kind`` tuned for each price, on ``test``: its curve of steps against loss."""
    points = []
    for cost in costs:
        found = stop_by(tune_stop(kind, tuning, cost).rule, test, cost).summary()
        points.append((found.steps, found.loss))
    return tuple(points)
