"""A whole evaluation: trained runs and tuned baselines on the same held-out problems, with and without stopping."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from probact.judging.averaging import as_accurate, predict, weights_of_steps
from probact.judging.calibration import calibration, frontier
from probact.judging.comparison import Entry, against_baselines, announced, compare, loss_rows, trained_entries
from probact.judging.problem_sets import held_out_problems, tuning_problems
from probact.judging.results import BestStop, CalibrationRow, Curve, Evaluation, PredictionRow, StopRow
from probact.judging.stops import HINDSIGHT, own_verdict, shares, stopped_baselines, verdicts
from probact.judging.trajectory import Trajectory, record
from probact.problems.base import Optimizee
from probact.runs.experiment import Experiment
from probact.runs.sources import Candidate
from probact.stopping.base import STOP_RULES
from probact.support.sight import Sight
from probact.support.statistics import rank_correlation, standard_error
from probact.unrolling.border import try_family

SWEEP = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Prices of the steps-against-loss curves, as multiples of the price asked for."""


def evaluate(
    experiment: Experiment,
    sources: Sequence[Candidate],
    references: Sequence[Entry],
    at: Sequence[int],
    *,
    num: int | None = None,
    seed: int = 0,
    cost: float | None = None,
    safeguard: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> tuple[Evaluation, xr.Dataset]:
    """Losses and stops of all on the same held-out problems: the results, and the losses problem by problem.

    :param experiment: family, horizon (the cap on stopping) and sizes of the problem sets.
    :param references: baselines, and the limit, from ``comparison.references``.
    :param cost: price of a step in nats; by default the experiment's.
    :param safeguard: let all but the baselines wear ``Safeguarded``.
    :param tell: is given a line about what is under way.
    """
    try_family(experiment.build_family())
    cost = experiment.step_cost if cost is None else cost
    test, tuning = held_out_problems(experiment, num, seed), tuning_problems(experiment)
    trained = trained_entries(sources, experiment.device, safeguard)
    data = compare(experiment, [*trained, *references], at, test, tell)
    ways = [
        _ways_to_stop(entry, experiment.horizon, test, tuning, cost)
        for entry in announced(trained, "ways to stop", tell)
    ]
    # what plans is left out: it is told how many steps there are, which nobody knows who stops
    stoppable = [entry for entry in references if entry.kind == "baseline" and not entry.built().plans]
    baselines = [
        row
        for entry in announced(stoppable, "ways to stop", tell)
        for row in stopped_baselines(entry, experiment, tuning, test, cost)
    ]
    result = Evaluation(
        family=experiment.family,
        family_options=dict(experiment.family_options),
        horizon=experiment.horizon,
        cost=cost,
        num_optimizees=test.num,
        num_tuning=tuning.num,
        seed=seed,
        safeguard=safeguard,
        threads=torch.get_num_threads(),
        runs=tuple({"folder": one.folder.name, "seeds": [*one.seeds], **one.settings} for one in sources),
        start_loss=float(data.curve_mean.isel(step=0)[0]),
        optimum=float(data.optimum.mean()) if "optimum" in data else float("nan"),
        losses=loss_rows(data),
        against_baselines=against_baselines(data),
        stopping=(*(row for one in ways for row in one.rows), *baselines),
        calibration=tuple(row for one in ways for row in one.calibration),
        frontier=tuple(curve for one in ways for curve in one.curves),
        predictions=tuple(row for one in ways for row in one.predictions),
    )
    return result, data


class _Ways(NamedTuple):
    """Ways to stop one trained optimizer, and how well its halting is known."""

    rows: list[StopRow]
    calibration: list[CalibrationRow]
    curves: list[Curve]
    predictions: list[PredictionRow]


def _ways_to_stop(entry: Entry, horizon: int, test: Optimizee, tuning: Optimizee, cost: float) -> _Ways:
    assert entry.rule is not None
    on_test, on_tuning = (record(entry.rule, problems, horizon, entry.posterior) for problems in (test, tuning))
    found = verdicts(on_test, on_tuning, cost)
    best = next(verdict.stop for verdict in found if verdict.kind == "oracle").numpy()
    whose: dict[str, Any] = {"optimizer": entry.label, "seed": entry.seed}
    rows = []
    for verdict, share in zip(found, shares(found), strict=True):
        correlation = rank_correlation(verdict.stop.numpy(), best)
        row = StopRow(**whose, **vars(verdict.summary()), trained=True, share=share, rank_correlation=correlation)
        rows.append(row)
    followed = entry.posterior is not None
    prices = [cost * factor for factor in SWEEP]
    curves = [
        Curve(**whose, kind=kind, points=frontier(STOP_RULES[kind], on_tuning, on_test, prices), prices=tuple(prices))
        for kind in (["budget", "hazard"] if followed else ["budget"])
    ]
    weights = weights_of_steps(on_test, own_verdict(found).stop, cost, entry.kl_scale)
    return _Ways(
        rows,
        [CalibrationRow(**whose, **vars(calibration(on_test, cost)))] if followed else [],
        curves,
        _predictions(entry, test, on_test, weights, whose),
    )


def _predictions(
    entry: Entry, test: Optimizee, path: Trajectory, weights: Mapping[str, Tensor], whose: Mapping[str, Any]
) -> list[PredictionRow]:
    """Of the problems that did not diverge."""
    kept = path.nll.isfinite().all(0).nonzero().squeeze(1)
    some = test.select(kept.to(next(iter(test.theta0.values())).device))
    if not len(kept):
        return []
    assert entry.rule is not None
    looks = None if entry.posterior is None else entry.posterior.looks
    weights = {way: of_steps[:, kept] for way, of_steps in weights.items()}
    found = predict(entry.rule, some, weights, looks)
    if found is None:
        return []
    at_stop = found["at the stop"].log_loss
    if entry.rule.sees is Sight.INPUT:
        horizon, accuracy = len(path.known), float(found["at the stop"].accuracy.mean())
        steps = as_accurate(entry.rule, some, horizon, accuracy)
        if steps is not None:
            at = (torch.arange(1, horizon + 1) == steps).double().unsqueeze(1).expand(-1, len(kept))
            found |= predict(entry.rule, some, {f"after {steps} steps for all, as accurate": at}) or {}
    return [
        PredictionRow(
            **whose,
            way=way,
            log_loss=float(one.log_loss.mean()),
            log_loss_error=float((one.log_loss - at_stop).std() / len(kept) ** 0.5) if len(kept) > 1 else math.nan,
            accuracy=float(one.accuracy.mean()),
            calibration_error=one.calibration_error,
        )
        for way, one in found.items()
    ]


def best_stops(result: Evaluation) -> list[BestStop]:
    """The best way found to stop each optimizer that can be followed online, J averaged over seeds, best first."""
    groups: dict[tuple[str, str], list[StopRow]] = {}
    for row in result.stopping:
        if row.kind not in HINDSIGHT:
            groups.setdefault((row.optimizer, row.kind), []).append(row)
    best: dict[str, BestStop] = {}
    for (optimizer, _), rows in groups.items():
        J = np.array([row.J for row in rows])
        if np.isnan(J).any():
            continue
        means: dict[str, Any] = {"J": float(J.mean()), "num_seeds": len(rows)}
        if len(rows) > 1:
            means["J_sem"] = standard_error(J)
            for name in ("loss", "steps", "steps_sd", "share", "rank_correlation"):
                means[name] = float(np.mean([row[name] for row in rows]))
        found = BestStop(**{**vars(rows[0]), **means})
        if optimizer not in best or found.J < best[optimizer].J:
            best[optimizer] = found
    return sorted(best.values(), key=lambda found: found.J)
