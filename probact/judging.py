"""A whole evaluation: trained runs and tuned baselines on the same held-out problems, with and without stopping."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import torch
import xarray as xr

from probact import evaluation_plots
from probact.evaluation import Contestant, compare, follow, held_out_problems
from probact.experiment import Experiment
from probact.files import finite_numbers, write_atomically
from probact.registry import STOP_RULES
from probact.rules.safeguarded import Safeguarded
from probact.sources import Source
from probact.tuning import NOTHING, tuning_problems
from probact.verdicts import calibration, frontier, rank_correlation, shares, stopped_baselines, verdicts

SWEEP = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Prices of the steps-against-loss curves, as multiples of the price asked for."""
HINDSIGHT = ("oracle", "exact MAP")
"""Kinds of verdicts that need the whole path."""


def contestants(sources: Sequence[Source], device: str, safeguard: bool = False) -> list[Contestant]:
    """Every seed of every source, labelled by rule and halting, or by folder where that is not enough.

    :param safeguard: let them all wear ``Safeguarded``, also those trained without.
    """
    short = [f"{source.experiment.rule}, {source.experiment.halting}" for source in sources]
    unique = len(set(short)) == len(short)
    found = []
    for source, label in zip(sources, short, strict=True):
        for seed, one in source.trained.items():
            posterior = None if one.posterior is None else one.posterior.to(device)
            rule = Safeguarded(one.rule) if safeguard or one.safeguard else one.rule
            found.append(Contestant(label if unique else source.folder.name, seed, rule.to(device), posterior))
    return found


def evaluate(
    experiment: Experiment,
    sources: Sequence[Source],
    baselines: Sequence[str],
    at: Sequence[int],
    *,
    num: int | None = None,
    seed: int = 0,
    cost: float | None = None,
    safeguard: bool = False,
    out: FilePath,
) -> dict[str, Any]:
    """Write ``evaluation.nc``, ``evaluation.json`` and ``figures`` to ``out``; returns what is in the JSON.

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
            follow(one.rule, problems, experiment.horizon, one.online_posterior) for problems in (test, tuning)
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
        for baseline in stopped_baselines(name, experiment, tuning, test, cost, NOTHING):
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
            "runs": [
                {"folder": source.folder.name, "seeds": [*source.trained], **source.settings} for source in sources
            ],
            "start_loss": float(data.curve_mean.isel(step=0)[0]),
            "optimum": float(data.optimum.mean()) if "optimum" in data else None,
            "losses": losses(data),
            "against_baselines": against_baselines(data),
            "stopping": stopping,
            "calibration": calibrations,
            "frontier": curves,
        }
    )
    out.mkdir(parents=True, exist_ok=True)
    data.attrs = {"family": experiment.family, "seed": seed, "settings": json.dumps(result["runs"])}
    write_atomically(out / "evaluation.nc", bytes(data.to_netcdf(engine="h5netcdf")))
    write_atomically(out / "evaluation.json", json.dumps(result, indent=1) + "\n")
    evaluation_plots.draw_all(data, result, out / "figures")
    return dict(result)


def _mean_and_error(values: np.ndarray) -> tuple[float, float, int]:
    """Mean and standard error of the finite values, and how many are not."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return float("nan"), float("nan"), values.size
    spread = finite.std(ddof=1) / finite.size**0.5 if finite.size > 1 else float("nan")
    return float(finite.mean()), float(spread), int(values.size - finite.size)


def losses(data: xr.Dataset) -> list[dict[str, Any]]:
    """One row an optimizer: means at each step over problems and seeds.

    ``sem``: standard error over the problems (of the mean over seeds); ``seed_sem``: over training seeds, None for one.
    """
    rows = []
    for label in dict.fromkeys(data.optimizer.values.tolist()):
        chosen = data.isel(entry=np.flatnonzero(data.optimizer.values == label))
        row: dict[str, Any] = {"optimizer": label, "seeds": chosen.seed.values.tolist()}
        for field in ("loss", "sem", "seed_sem", "diverged", "test_loss", "accuracy", "learning_rate"):
            row[field] = {}
        for position, step in enumerate(data.at.values.tolist()):
            values = chosen.loss.values[:, position]
            mean, sem, diverged = _mean_and_error(values.mean(0))
            by_seed = np.array([_mean_and_error(one)[0] for one in values])
            key = str(step)
            row["loss"][key], row["sem"][key], row["diverged"][key] = mean, sem, diverged
            row["seed_sem"][key] = float(by_seed.std(ddof=1) / len(by_seed) ** 0.5) if len(by_seed) > 1 else None
            if "test_loss" in chosen:
                row["test_loss"][key] = _mean_and_error(chosen.test_loss.values[:, position].mean(0))[0]
            if "accuracy" in chosen:
                row["accuracy"][key] = float(chosen.accuracy.values[:, position].mean())
            rate = float(chosen.learning_rate.values[0, position])
            row["learning_rate"][key] = rate if np.isfinite(rate) else None
        rows.append(row)
    return rows


def against_baselines(data: xr.Dataset) -> list[dict[str, Any]]:
    """Each trained optimizer against the baseline with the smallest mean at that step, problem by problem.

    ``difference``: mean over problems (and seeds) of its loss minus the baseline's, ``sem`` over problems; ``wins``:
    share of problems where it is lower.
    """
    trained = dict.fromkeys(data.optimizer.values[data.seed.values >= 0].tolist())
    entries = [
        index
        for index, (label, seed) in enumerate(zip(data.optimizer.values, data.seed.values, strict=True))
        if seed < 0 and "limit" not in label
    ]
    rows = []
    for label in trained if entries else ():
        chosen = np.flatnonzero(data.optimizer.values == label)
        row: dict[str, Any] = {"optimizer": label, "baseline": {}, "difference": {}, "sem": {}, "wins": {}}
        for position, step in enumerate(data.at.values.tolist()):
            table = data.loss.values[:, position]
            means = {index: _mean_and_error(table[index]) for index in entries}
            _, _, best = min((diverged, mean, index) for index, (mean, _, diverged) in means.items())
            with np.errstate(invalid="ignore"):
                difference = table[chosen] - table[best]
            mean, sem, _ = _mean_and_error(difference.mean(0))
            key = str(step)
            row["baseline"][key] = str(data.optimizer.values[best])
            row["difference"][key], row["sem"][key] = mean, sem
            row["wins"][key] = float((table[chosen] < table[best]).mean())
        rows.append(row)
    return rows


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
