"""Results of an evaluation, made by hand."""

from __future__ import annotations

import math
from typing import Any

from probact.judging.results import Calibration, CalibrationRow, Curve, DifferenceRow, Evaluation, LossRow, StopRow

STOP = {"kind": "budget", "rule": "4 steps", "cost": 0.1, "J": 1.5, "J_sem": 0.1, "loss": 1.1, "steps": 4.0,
        "steps_sd": 0.0, "diverged": 0}  # fmt: skip


def evaluation(**changed: Any) -> Evaluation:
    """Without rows but for those given."""
    given: dict[str, Any] = {
        "family": "quadratic", "family_options": {"dim": 3}, "horizon": 6, "cost": 0.1, "num_optimizees": 4,
        "num_tuning": 8, "seed": 0, "threads": 1, "runs": ({"folder": "a", "seeds": [0]},), "start_loss": 1.0,
        "optimum": math.nan, "losses": (), "against_baselines": (), "stopping": (), "calibration": (), "frontier": (),
    }  # fmt: skip
    return Evaluation(**{**given, **changed})


def loss_row(optimizer: str, kind: Any, *seeds: int) -> LossRow:
    """One step, at which all problems diverged."""
    unknown = {"6": math.nan}
    return LossRow(optimizer=optimizer, kind=kind, seeds=seeds, loss=unknown, sem=unknown, seed_sem=unknown,
                   diverged={"6": 4}, learning_rate=unknown)  # fmt: skip


def full_evaluation() -> Evaluation:
    """With every kind of row."""
    bins = Calibration(predicted=(0.5, math.nan), observed=(0.25, math.nan), entries=(24, 0), error=0.25)
    against = DifferenceRow(optimizer="mine", baseline={"6": "adam"}, difference={"6": 0.5}, sem={"6": 0.1},
                            wins={"6": 0.25})  # fmt: skip
    return evaluation(
        losses=(loss_row("mine", "trained", 0, 1), loss_row("adam", "baseline"), loss_row("cg (limit)", "limit")),
        against_baselines=(against,),
        stopping=(
            StopRow(optimizer="mine", trained=True, seed=1, share=0.5, **STOP),
            StopRow(optimizer="adam", trained=False, seed=None, learning_rate=0.1, **STOP),
        ),
        calibration=(CalibrationRow(optimizer="mine", seed=1, **vars(bins)),),
        frontier=(Curve(optimizer="mine", seed=1, kind="hazard", points=((3.0, 1.25), (2.0, math.inf))),),
    )
