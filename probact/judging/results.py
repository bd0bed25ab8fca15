"""What an evaluation finds, typed; ``evaluation.json`` is an ``Evaluation``.  Nothing here needs torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from probact.support.results import Result

Kind = Literal["trained", "baseline", "limit"]
"""Of an optimizer: trained; hand-designed and tuned; or told what no optimizer knows."""


@dataclass(frozen=True, kw_only=True)
class LossRow(Result):
    """Losses of one optimizer: step, as text -> mean over problems and seeds, NaN where every problem diverged.

    :ivar seeds: of its trainings; none where it is not trained.
    :ivar sem: standard error over the problems (of the mean over seeds).
    :ivar seed_sem: over the training seeds, NaN for one.
    :ivar diverged: problems left out.
    :ivar test_loss, accuracy: on the whole test set; empty where there is none.
    :ivar learning_rate: of a baseline, else NaN.
    """

    optimizer: str
    kind: Kind
    seeds: tuple[int, ...]
    loss: dict[str, float]
    sem: dict[str, float]
    seed_sem: dict[str, float]
    diverged: dict[str, int]
    learning_rate: dict[str, float]
    test_loss: dict[str, float] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DifferenceRow(Result):
    """One trained optimizer against the baseline with the smallest mean at each step, problem by problem.

    :ivar difference: mean over problems (and seeds) of its loss minus the baseline's, in nats.
    :ivar sem: standard error over the problems.
    :ivar wins: share of the problems where its loss is lower.
    """

    optimizer: str
    baseline: dict[str, str]
    difference: dict[str, float]
    sem: dict[str, float]
    wins: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class StopSummary(Result):
    """One way to stop: means over the problems that did not diverge, with standard errors.

    :ivar kind: name of the stop rule, or ``oracle`` or ``horizon`` (once also ``exact MAP``).
    :ivar rule: the stop rule with its threshold, described.
    :ivar spelled: the same as ``export --stop`` takes it; empty for what is known in hindsight.
    :ivar cost: c, nats a step.
    :ivar J: loss at the stop + c * steps.
    :ivar steps_sd: standard deviation over the problems.
    """

    kind: str
    rule: str
    cost: float
    J: float
    J_sem: float
    loss: float
    steps: float
    steps_sd: float
    diverged: int
    spelled: str = ""


@dataclass(frozen=True, kw_only=True)
class StopRow(StopSummary):
    """One way to stop one optimizer.

    :ivar trained: whether it is a trained one; else a baseline.
    :ivar seed: of the training, or None.
    :ivar share: of the difference between the best fixed budget and the oracle, what this stop closes.
    :ivar rank_correlation: of its stops with the oracle's.
    :ivar learning_rate: of a baseline.
    """

    optimizer: str
    trained: bool
    seed: int | None
    share: float = math.nan
    rank_correlation: float = math.nan
    learning_rate: float = math.nan


@dataclass(frozen=True, kw_only=True)
class BestStop(StopRow):
    """The best stop found for an optimizer: means over its seeds."""

    num_seeds: int


@dataclass(frozen=True, kw_only=True)
class Calibration(Result):
    """Is P(halt <= t) the share of problems for which more steps than t would not have paid?

    Over all problems and steps, in bins of the predicted probability.

    :ivar predicted, observed: means in each bin, NaN in empty ones.
    :ivar entries: how many fall in each bin.
    :ivar error: mean |predicted - observed| over the entries (expected calibration error).
    """

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    entries: tuple[int, ...]
    error: float


@dataclass(frozen=True, kw_only=True)
class CalibrationRow(Calibration):
    """Of one trained optimizer."""

    optimizer: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class PredictionRow(Result):
    """Held-out labels predicted by one trained optimizer and one way to use its steps; means over the problems.

    :ivar way: at the stop, at the last step, or averaged over q(t|x) or the exact posterior, which is that of the price
        asked for, the same at each step, at the KL scale of training; of a computation also after the fewest steps for
        all problems alike that are as accurate as the stop.
    :ivar log_loss: in nats; ``log_loss_error`` is the standard error over the problems of its difference to the stop's.
    :ivar calibration_error: expected calibration error.
    """

    optimizer: str
    seed: int
    way: str
    log_loss: float
    log_loss_error: float
    accuracy: float
    calibration_error: float


@dataclass(frozen=True, kw_only=True)
class Curve(Result):
    """Steps against loss of one trained optimizer and one kind of stop.

    :ivar points: for each price, mean steps and mean loss of the stop tuned for it.
    :ivar prices: in nats a step; none in older files.
    """

    optimizer: str
    seed: int
    kind: str
    points: tuple[tuple[float, float], ...]
    prices: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Evaluation(Result):
    """Trained optimizers and baselines on the same held-out problems; losses in nats.

    :ivar cost: c, nats a step.
    :ivar seed: which problems.
    :ivar safeguard: whether all but the baselines wore ``Safeguarded``.
    :ivar runs: folder, seeds and settings of what was trained.
    :ivar predictions: empty where no labels are predicted.
    :ivar start_loss, optimum: means over the problems.
    """

    family: str
    family_options: dict[str, Any]
    horizon: int
    cost: float
    num_optimizees: int
    num_tuning: int
    seed: int
    safeguard: bool = False
    threads: int
    runs: tuple[dict[str, Any], ...]
    start_loss: float
    optimum: float
    losses: tuple[LossRow, ...]
    against_baselines: tuple[DifferenceRow, ...]
    stopping: tuple[StopRow, ...]
    calibration: tuple[CalibrationRow, ...]
    frontier: tuple[Curve, ...]
    predictions: tuple[PredictionRow, ...] = ()

    @classmethod
    def upgraded(cls, content: dict[str, Any]) -> dict[str, Any]:
        """Without a format number, a seed of -1 is that of a baseline or of the limit."""
        for row in content["losses"]:
            row["kind"] = (
                "trained" if -1 not in row["seeds"] else "limit" if "limit" in row["optimizer"] else "baseline"
            )
            row["seeds"] = [seed for seed in row["seeds"] if seed != -1]
        for row in content["stopping"]:
            row["trained"] = row["seed"] != -1
            row["seed"] = row["seed"] if row["trained"] else None
        return content
