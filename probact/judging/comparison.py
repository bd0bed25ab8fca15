"""Optimizers on held-out problems: what each reaches after so many steps, learned and hand-designed alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from probact.inference.posteriors.base import HaltingPosterior
from probact.judging.limit import conjugate_gradient
from probact.judging.trajectory import Trajectory, record
from probact.judging.tuning import tuned_rates
from probact.problems.base import Optimizee, Score
from probact.rules.base import RULES, UpdateRule
from probact.rules.hand_designed import HandDesigned
from probact.rules.safeguarded import Safeguarded
from probact.runs.experiment import Experiment
from probact.runs.sources import Candidate

LIMIT = "cg (limit)"
"""Conjugate gradients with exact line search: told the curvature, and so no baseline."""


@dataclass(frozen=True)
class Contestant:
    """A trained optimizer in an evaluation: its label and training seed, the rule, and its halting posterior."""

    label: str
    seed: int
    rule: UpdateRule
    posterior: HaltingPosterior | None = None

    @property
    def online_posterior(self) -> HaltingPosterior | None:
        """The posterior, if it can be followed online."""
        return self.posterior if self.posterior is not None and self.posterior.distribution.online else None


def compare(
    experiment: Experiment,
    contestants: Sequence[Contestant],
    baselines: Sequence[str],
    at: Sequence[int],
    optimizee: Optimizee,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> xr.Dataset:
    """Losses of all on the same problems.

    An entry is a trained optimizer from one seed, or a baseline (seed -1) tuned for each step of ``at`` by itself.

    :param baselines: names in ``RULES``, or ``cg``, which stands for ``LIMIT``.
    :param options: options of the baselines' rules.
    :returns: ``loss (entry, at, optimizee)`` in nats, inf where diverged; ``test_loss`` and ``accuracy (entry, at,
        optimizee)`` on the whole test set, where there is one; ``curve_mean``, ``curve_sem (entry, step)`` over the
        problems that did not diverge (the standard error of the loss above the optimum, where it is known), of
        baselines at the rate for the last step; ``learning_rate (entry, at)``.
    """
    at, last = sorted(at), max(at)
    optimum = optimizee.optimum()
    floor = torch.zeros(optimizee.num, dtype=torch.float64) if optimum is None else optimum.cpu().double()
    labels: list[tuple[str, int]] = []
    rows: list[dict[str, np.ndarray]] = []

    def add(label: str, seed: int, paths: Mapping[int, Trajectory], rates: Mapping[int, float]) -> None:
        curve = paths[last].nll.masked_fill(~paths[last].nll.isfinite(), torch.nan)
        count = (~curve.isnan()).sum(1)
        mean, above = curve.nanmean(1), curve - floor
        spread = ((above - above.nanmean(1).unsqueeze(1)).square().nansum(1) / (count - 1).clamp_min(1)).sqrt()
        unknown = torch.full((optimizee.num,), torch.nan, dtype=torch.float64)
        scores = [paths[step].scores.get(step, Score(unknown, unknown)) for step in at]
        labels.append((label, seed))
        rows.append(
            {
                "loss": torch.stack([paths[step].nll[step] for step in at]).numpy(),
                "test_loss": torch.stack([score.loss for score in scores]).numpy(),
                "accuracy": torch.stack([score.accuracy for score in scores]).numpy(),
                "learning_rate": np.array([rates.get(step, np.nan) for step in at]),
                "curve_mean": mean.numpy(),
                "curve_sem": (spread / count.sqrt()).numpy(),
            }
        )

    for contestant in contestants:
        path = record(contestant.rule, optimizee, last, score_at=at)
        add(contestant.label, contestant.seed, dict.fromkeys(at, path), {})
    for name in baselines:
        if name == "cg":
            nll = conjugate_gradient(optimizee, last).cpu()
            add(LIMIT, -1, dict.fromkeys(at, Trajectory(nll, [], {})), {})
            continue
        extra = (options or {}).get(name, {})
        rates = tuned_rates(name, experiment, at, extra)
        paths: dict[int, Trajectory] = {}
        by_rate: dict[float, list[int]] = {}
        for step, lr in rates.items():
            by_rate.setdefault(lr, []).append(step)
        for lr, steps in by_rate.items():
            path = record(RULES.build(name, {**extra, "lr": lr}), optimizee, max(steps), score_at=steps)
            paths.update(dict.fromkeys(steps, path))
        add(name, -1, paths, rates)

    dims = {
        "loss": ("entry", "at", "optimizee"),
        "test_loss": ("entry", "at", "optimizee"),
        "accuracy": ("entry", "at", "optimizee"),
        "learning_rate": ("entry", "at"),
        "curve_mean": ("entry", "step"),
        "curve_sem": ("entry", "step"),
    }
    variables = {name: (dims[name], np.stack([row[name] for row in rows])) for name in dims}
    coords = {
        "optimizer": ("entry", [label for label, _ in labels]),
        "seed": ("entry", [seed for _, seed in labels]),
        "at": at,
        "step": np.arange(last + 1),
        "optimizee": np.arange(optimizee.num),
    }
    dataset = xr.Dataset(variables, coords=coords)
    dataset = dataset.drop_vars([name for name in ("test_loss", "accuracy") if bool(np.isnan(dataset[name]).all())])
    if optimum is not None:
        dataset["optimum"] = ("optimizee", floor.numpy())
    return dataset


def baseline_names(optimizee: Optimizee) -> list[str]:
    """Every hand-designed rule, and the limit where there is one."""
    names = [name for name in RULES if issubclass(RULES[name], HandDesigned)]
    return [*names, "cg"] if optimizee.quadratic else names


def contestants(sources: Sequence[Candidate], device: str, safeguard: bool = False) -> list[Contestant]:
    """Every seed of every source, labelled by rule and halting, or by folder where that is not enough.

    :param safeguard: let them all wear ``Safeguarded``, also those trained without.
    """
    short = [f"{source.experiment.rule}, {source.experiment.halting}" for source in sources]
    unique = len(set(short)) == len(short)
    found = []
    for source, label in zip(sources, short, strict=True):
        for seed, one in source.seeds.items():
            posterior = None if one.posterior is None else one.posterior.to(device)
            rule = Safeguarded(one.rule) if safeguard or one.safeguard else one.rule
            found.append(Contestant(label if unique else source.folder.name, seed, rule.to(device), posterior))
    return found


def mean_and_error(values: np.ndarray) -> tuple[float, float, int]:
    """Mean and standard error of the finite values, and how many are not."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return float("nan"), float("nan"), values.size
    spread = finite.std(ddof=1) / finite.size**0.5 if finite.size > 1 else float("nan")
    return float(finite.mean()), float(spread), int(values.size - finite.size)


def loss_rows(data: xr.Dataset) -> list[dict[str, Any]]:
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
            mean, sem, diverged = mean_and_error(values.mean(0))
            by_seed = np.array([mean_and_error(one)[0] for one in values])
            key = str(step)
            row["loss"][key], row["sem"][key], row["diverged"][key] = mean, sem, diverged
            row["seed_sem"][key] = float(by_seed.std(ddof=1) / len(by_seed) ** 0.5) if len(by_seed) > 1 else None
            if "test_loss" in chosen:
                row["test_loss"][key] = mean_and_error(chosen.test_loss.values[:, position].mean(0))[0]
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
            means = {index: mean_and_error(table[index]) for index in entries}
            _, _, best = min((diverged, mean, index) for index, (mean, _, diverged) in means.items())
            with np.errstate(invalid="ignore"):
                difference = table[chosen] - table[best]
            mean, sem, _ = mean_and_error(difference.mean(0))
            key = str(step)
            row["baseline"][key] = str(data.optimizer.values[best])
            row["difference"][key], row["sem"][key] = mean, sem
            row["wins"][key] = float((table[chosen] < table[best]).mean())
        rows.append(row)
    return rows
