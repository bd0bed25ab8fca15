"""Optimizers on held-out problems: what each reaches after so many steps, learned and hand-designed alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from probact.inference.posteriors.base import HaltingPosterior
from probact.judging.limit import conjugate_gradient
from probact.judging.results import DifferenceRow, Kind, LossRow
from probact.judging.trajectory import Trajectory, record
from probact.judging.tuning import tuned_rates
from probact.problems.base import Optimizee, OptimizeeFamily, Score
from probact.rules.base import RULES, UpdateRule
from probact.rules.hand_designed import hand_designed
from probact.rules.safeguarded import Safeguarded
from probact.runs.experiment import Experiment
from probact.runs.sources import Candidate
from probact.support.statistics import standard_error

DIMENSIONS = {
    "loss": ("entry", "at", "optimizee"),
    "test_loss": ("entry", "at", "optimizee"),
    "accuracy": ("entry", "at", "optimizee"),
    "learning_rate": ("entry", "at"),
    "curve_mean": ("entry", "step"),
    "curve_sem": ("entry", "step"),
}


@dataclass(frozen=True)
class Entry:
    """An optimizer in an evaluation.

    :ivar label: of a baseline, the name of its rule, or the formula that it says.
    :ivar seed: of the training, or None.
    :ivar rule: the trained one; None for a baseline, whose rule depends on the rate, and for a limit.
    :ivar posterior: the one to follow online, where there is one.
    :ivar kl_scale: kappa that it was trained at.
    :ivar rule_name: of a baseline's rule, where that is not the label; :ivar options: of it, beside its rate.
    """

    label: str
    kind: Kind
    seed: int | None = None
    rule: UpdateRule | None = None
    posterior: HaltingPosterior | None = None
    kl_scale: float = 1.0
    rule_name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_formula(cls, formula: str) -> Self:
        """The baseline that a formula says, as ``rules/expressions`` reads it.

        :raises ValueError: if it is none.
        """
        expr = str(RULES.build(FORMULA, {"expr": formula}).expr)
        return cls(expr, "baseline", rule_name=FORMULA, options={"expr": expr})

    @property
    def name(self) -> str:
        """Of a baseline's rule."""
        return self.rule_name or self.label

    def built(self, **options: Any) -> UpdateRule:
        """A baseline's rule, with ``options`` beside its own."""
        return RULES.build(self.name, {**self.options, **options})


FORMULA = "expression"
"""The rule that formulas are options of."""
LIMIT = Entry("cg (limit)", "limit")
"""Conjugate gradients with exact line search: told the curvature, and so no baseline."""


def references(family: type[OptimizeeFamily]) -> dict[str, Entry]:
    """What trained optimizers are judged against, by name: hand-designed rules, and ``cg``, the limit of quadratics.

    Of rules those that see what the family is for: a search is no match for what is told the gradient.
    """
    ready = (*hand_designed(), *(name for name in RULES if RULES[name].is_baseline))
    seeing = [name for name in ready if RULES[name].sees is family.shows[0]]
    baselines = {name: Entry(name, "baseline") for name in seeing}
    return {**baselines, "cg": LIMIT} if family.quadratic else baselines


def trained_entries(sources: Sequence[Candidate], device: str, safeguard: bool = False) -> list[Entry]:
    """Every seed of every source, labelled by rule and halting, or by folder where that is not enough.

    :param safeguard: let them all wear ``Safeguarded``, also those trained without.
    """
    short = [f"{source.experiment.rule}, {source.experiment.halting}" for source in sources]
    unique = len(set(short)) == len(short)
    found = []
    for source, label in zip(sources, short, strict=True):
        for seed, one in source.seeds.items():
            posterior = None if one.online_posterior is None else one.online_posterior.to(device)
            rule = Safeguarded(one.rule) if safeguard else one.worn_rule
            name = label if unique else source.folder.name
            found.append(Entry(name, "trained", seed, rule.to(device), posterior, one.kl_scale))
    return found


def announced(entries: Sequence[Entry], what: str, tell: Callable[[str], None]) -> Iterator[Entry]:
    """``entries``, after a line about each, for they take a while."""
    for number, entry in enumerate(entries, 1):
        seed = "" if entry.seed is None else f", seed {entry.seed}"
        tell(f"{what}: {entry.label}{seed} ({number} of {len(entries)})")
        yield entry


def compare(
    experiment: Experiment,
    entries: Sequence[Entry],
    at: Sequence[int],
    optimizee: Optimizee,
    tell: Callable[[str], None] = lambda line: None,
) -> xr.Dataset:
    """Losses of all on the same problems; a baseline is tuned for each step of ``at`` by itself, and told it if it
    plans.

    :param tell: is given a line about what is under way.
    :returns: ``loss (entry, at, optimizee)`` in nats, inf where diverged; ``test_loss`` and ``accuracy (entry, at,
        optimizee)`` on the whole test set, where there is one; ``curve_mean``, ``curve_sem (entry, step)`` over the
        problems that did not diverge (the standard error of the loss above the optimum, where it is known), of
        baselines at the rate for the last step; ``learning_rate (entry, at)``.  Along ``entry`` the coordinates
        ``optimizer``, ``kind`` and ``seed``, which is -1 where there is none.
    """
    at = sorted(at)
    optimum = optimizee.optimum()
    floor = torch.zeros(optimizee.num, dtype=torch.float64) if optimum is None else optimum.cpu().double()
    rows = [_losses(*_paths(entry, experiment, at, optimizee), floor) for entry in announced(entries, "losses", tell)]
    coords = {
        "optimizer": ("entry", [entry.label for entry in entries]),
        "kind": ("entry", [entry.kind for entry in entries]),
        "seed": ("entry", [-1 if entry.seed is None else entry.seed for entry in entries]),
        "at": at,
        "step": np.arange(at[-1] + 1),
        "optimizee": np.arange(optimizee.num),
    }
    stacked = {name: (dims, np.stack([row[name] for row in rows])) for name, dims in DIMENSIONS.items()}
    dataset = xr.Dataset(stacked, coords=coords)
    dataset = dataset.drop_vars([name for name in ("test_loss", "accuracy") if bool(np.isnan(dataset[name]).all())])
    if optimum is not None:
        dataset["optimum"] = ("optimizee", floor.numpy())
    return dataset


def _paths(
    entry: Entry, experiment: Experiment, at: Sequence[int], optimizee: Optimizee
) -> tuple[dict[int, Trajectory], Mapping[int, float]]:
    """For each step of ``at`` the path that is read there, and the rate of a baseline."""
    if entry.kind == "limit":
        nll = conjugate_gradient(optimizee, max(at)).cpu()
        return dict.fromkeys(at, Trajectory(nll, [], {})), {}
    if entry.kind == "trained":
        assert entry.rule is not None
        return dict.fromkeys(at, record(entry.rule, optimizee, max(at), score_at=at)), {}
    if RULES[entry.name].is_baseline:
        return dict.fromkeys(at, record(entry.built(), optimizee, max(at), score_at=at)), {}
    rates = tuned_rates(entry.name, experiment, at, entry.options)
    paths: dict[int, Trajectory] = {}
    for lr in set(rates.values()):
        rule, steps = entry.built(lr=lr), [step for step in at if rates[step] == lr]
        for together in [[step] for step in steps] if rule.plans else [steps]:
            path = record(rule, optimizee, max(together), score_at=together, told=True)
            paths.update(dict.fromkeys(together, path))
    return paths, rates


def _losses(paths: Mapping[int, Trajectory], rates: Mapping[int, float], floor: Tensor) -> dict[str, np.ndarray]:
    """An entry of ``compare``; ``floor (L,)`` is what the standard error of its curve is measured from."""
    at = sorted(paths)
    nll = paths[at[-1]].nll
    curve = nll.masked_fill(~nll.isfinite(), torch.nan)
    count = (~curve.isnan()).sum(1)
    mean, above = curve.nanmean(1), curve - floor
    spread = ((above - above.nanmean(1).unsqueeze(1)).square().nansum(1) / (count - 1).clamp_min(1)).sqrt()
    unknown = torch.full_like(floor, torch.nan)
    scores = [paths[step].scores.get(step, Score(unknown, unknown)) for step in at]
    return {
        "loss": torch.stack([paths[step].nll[step] for step in at]).numpy(),
        "test_loss": torch.stack([score.loss for score in scores]).numpy(),
        "accuracy": torch.stack([score.accuracy for score in scores]).numpy(),
        "learning_rate": np.array([rates.get(step, np.nan) for step in at]),
        "curve_mean": mean.numpy(),
        "curve_sem": (spread / count.sqrt()).numpy(),
    }


def mean_and_error(values: np.ndarray) -> tuple[float, float, int]:
    """Mean and standard error of the finite values, and how many are not."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return float("nan"), float("nan"), values.size
    return float(finite.mean()), standard_error(finite), int(values.size - finite.size)


def loss_rows(data: xr.Dataset) -> tuple[LossRow, ...]:
    """One row an optimizer."""
    labels = data.optimizer.values
    return tuple(_loss_row(data.isel(entry=np.flatnonzero(labels == label))) for label in dict.fromkeys(labels))


def _loss_row(data: xr.Dataset) -> LossRow:
    """Of all seeds of one optimizer."""

    def by_step(values: Iterable[Any]) -> dict[str, Any]:
        return {str(step): value for step, value in zip(data.at.values, values, strict=True)}

    kind: Kind = data.kind.values.tolist()[0]
    means, errors, diverged = zip(*map(mean_and_error, data.loss.values.mean(0)), strict=True)
    by_seed = [np.array([mean_and_error(one)[0] for one in values]) for values in data.loss.values.swapaxes(0, 1)]
    scored: dict[str, Any] = {}
    if "test_loss" in data:
        scored["test_loss"] = by_step(mean_and_error(values)[0] for values in data.test_loss.values.mean(0))
    if "accuracy" in data:
        scored["accuracy"] = by_step(float(values.mean()) for values in data.accuracy.values.swapaxes(0, 1))
    return LossRow(
        optimizer=str(data.optimizer.values[0]),
        kind=kind,
        seeds=tuple(data.seed.values.tolist()) if kind == "trained" else (),
        loss=by_step(means),
        sem=by_step(errors),
        seed_sem=by_step(map(standard_error, by_seed)),
        diverged=by_step(diverged),
        learning_rate=by_step(data.learning_rate.values[0].tolist()),
        **scored,
    )


def against_baselines(data: xr.Dataset) -> tuple[DifferenceRow, ...]:
    """Each trained optimizer against the baseline with the smallest mean at that step, problem by problem."""
    labels, kinds = data.optimizer.values, data.kind.values
    baselines = np.flatnonzero(kinds == "baseline").tolist()
    trained = dict.fromkeys(labels[kinds == "trained"]) if baselines else {}
    return tuple(_difference_row(data, label, baselines) for label in trained)


def _difference_row(data: xr.Dataset, label: str, baselines: Sequence[int]) -> DifferenceRow:
    chosen = np.flatnonzero(data.optimizer.values == label)
    found = []
    for table in data.loss.values.swapaxes(0, 1):
        means = {index: mean_and_error(table[index]) for index in baselines}
        _, _, best = min((diverged, mean, index) for index, (mean, _, diverged) in means.items())
        with np.errstate(invalid="ignore"):
            mean, sem, _ = mean_and_error((table[chosen] - table[best]).mean(0))
        found.append((str(data.optimizer.values[best]), mean, sem, float((table[chosen] < table[best]).mean())))
    steps = [str(step) for step in data.at.values]
    baseline, difference, sems, wins = (dict(zip(steps, column, strict=True)) for column in zip(*found, strict=True))
    return DifferenceRow(optimizer=str(label), baseline=baseline, difference=difference, sem=sems, wins=wins)
