"""A whole evaluation: trained runs and tuned baselines on the same held-out problems, with and without stopping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from probact.judging.calibration import calibration, frontier, rank_correlation
from probact.judging.comparison import against_baselines, compare, contestants, loss_rows
from probact.judging.problem_sets import held_out_problems, tuning_problems
from probact.judging.stops import shares, stopped_baselines, verdicts
from probact.judging.trajectory import record
from probact.runs.experiment import Experiment
from probact.runs.sources import Candidate
from probact.stopping.base import STOP_RULES
from probact.support.files import finite_numbers

SWEEP = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Prices of the steps-against-loss curves, as multiples of the price asked for."""
HINDSIGHT = ("oracle", "exact MAP")
"""Kinds of verdicts that need the whole path."""


def evaluate(
    experiment: Experiment,
    sources: Sequence[Candidate],
    baselines: Sequence[str],
    at: Sequence[int],
    *,
    num: int | None = None,
    seed: int = 0,
    cost: float | None = None,
    safeguard: bool = False,
) -> tuple[dict[str, Any], xr.Dataset]:
    """Losses and stops of all on the same held-out problems: the results, and the losses problem by problem.

    :param experiment: family, horizon (the cap on stopping) and sizes of the problem sets.
    :param baselines: names in ``RULES``, or ``cg``.
    :param cost: price of a step in nats; by default the experiment's.
    :param safeguard: let all but the baselines wear ``Safeguarded``.
    """
    cost = experiment.step_cost if cost is None else cost
    test = held_out_problems(experiment, num, seed)
    trained = contestants(sources, experiment.device, safeguard)
    data = compare(experiment, trained, baselines, at, test)
    tuning = tuning_problems(experiment)

    stopping: list[dict[str, Any]] = []
    calibrations: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    for one in trained:
        on_test, on_tuning = (
            record(one.rule, problems, experiment.horizon, one.online_posterior) for problems in (test, tuning)
        )
        found = verdicts(on_test, on_tuning, cost)
        best = next(verdict.stop for verdict in found if verdict.kind == "oracle")
        for verdict, share in zip(found, shares(found), strict=True):
            correlation = rank_correlation(verdict.stop, best)
            row = {"optimizer": one.label, "seed": one.seed, **verdict.summary()}
            stopping.append({**row, "share": share, "rank_correlation": correlation})
        if one.online_posterior is not None:
            bins = calibration(on_test, cost)
            values = {field: np.asarray(value).tolist() for field, value in bins._asdict().items()}
            calibrations.append({"optimizer": one.label, "seed": one.seed, **values})
        kinds = ("budget", "hazard") if one.online_posterior is not None else ("budget",)
        for kind in kinds:
            points = frontier(STOP_RULES[kind], on_tuning, on_test, [cost * factor for factor in SWEEP])
            curves.append({"optimizer": one.label, "seed": one.seed, "kind": kind, "points": points})
    for name in baselines:
        if name == "cg":
            continue
        for baseline in stopped_baselines(name, experiment, tuning, test, cost):
            row = {"optimizer": name, "seed": -1, **baseline.verdict.summary()}
            stopping.append({**row, "learning_rate": baseline.learning_rate})

    result = finite_numbers(
        {
            "family": experiment.family,
            "family_options": dict(experiment.family_options),
            "horizon": experiment.horizon,
            "cost": cost,
            "num_optimizees": test.num,
            "num_tuning": tuning.num,
            "seed": seed,
            "safeguard": safeguard,
            "threads": torch.get_num_threads(),
            "runs": [{"folder": source.folder.name, "seeds": [*source.seeds], **source.settings} for source in sources],
            "start_loss": float(data.curve_mean.isel(step=0)[0]),
            "optimum": float(data.optimum.mean()) if "optimum" in data else None,
            "losses": loss_rows(data),
            "against_baselines": against_baselines(data),
            "stopping": stopping,
            "calibration": calibrations,
            "frontier": curves,
        }
    )
    return result, data


def best_stops(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The best way found to stop each optimizer that can be followed online, J averaged over seeds, best first."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in result["stopping"]:
        if row["kind"] not in HINDSIGHT:
            groups.setdefault((row["optimizer"], row["kind"]), []).append(row)
    best: dict[str, dict[str, Any]] = {}
    for (optimizer, _), rows in groups.items():
        J = np.array([row["J"] for row in rows], dtype=float)
        if np.isnan(J).any():
            continue
        entry = {**rows[0], "J": float(J.mean()), "num_seeds": len(rows)}
        if len(rows) > 1:
            entry["J_sem"] = float(J.std(ddof=1) / len(J) ** 0.5)
            for field in ("loss", "steps", "steps_sd", "share", "rank_correlation"):
                values = np.array([row.get(field) for row in rows], dtype=float)  # None becomes NaN
                entry[field] = float(values.mean())
        if optimizer not in best or entry["J"] < best[optimizer]["J"]:
            best[optimizer] = entry
    return sorted(best.values(), key=lambda entry: float(entry["J"]))
