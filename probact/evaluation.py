"""Optimizers on held-out problems: what each reaches after so many steps, learned and hand-designed alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from probact.experiment import Experiment, generator
from probact.limits import conjugate_gradient
from probact.optimizees.base import Optimizee, Score
from probact.posteriors import HaltingPosterior
from probact.registry import RULES
from probact.rules.base import UpdateRule
from probact.rules.handcrafted import HandDesigned
from probact.stopping import Following, Known
from probact.tuning import NOTHING, tuned_rates
from probact.walk import Walk

LIMIT = "cg (limit)"
"""Conjugate gradients with exact line search: told the curvature, and so no baseline."""
CHUNK = 1024
"""Problems that run side by side."""


def held_out_problems(experiment: Experiment, num: int | None = None, seed: int = 0) -> Optimizee:
    """Held-out problems of the experiment's family: no other stream of random numbers makes them."""
    family = experiment.build_family()
    return family.sample(num or experiment.test_problems, generator("test", seed)).to(experiment.device)


def losses_at(nll: Tensor, steps: list[int]) -> dict[str, float]:
    """Mean over the problems of ``nll (K + 1, L)`` at the steps that exist, as ``{"10": 9.8, ...}``."""
    return {str(step): float(nll[step].double().mean()) for step in steps if step < len(nll)}


def reported_steps(horizon: int) -> list[int]:
    """1, 5, 10, 20, 50 and H, as far as H reaches."""
    return sorted({step for step in (1, 5, 10, 20, 50) if step < horizon} | {horizon})


class Path(NamedTuple):
    """K steps of one optimizer on L problems, on the CPU in double precision.

    :ivar nll: ``(K + 1, L)``, inf where a problem diverged.
    :ivar known: what was known at theta_1..theta_K, for stop rules.
    :ivar scores: step -> loss and accuracy on the test set, at the steps asked for; empty where there is no test set.
    """

    nll: Tensor
    known: list[Known]
    scores: dict[int, Score]


def follow(
    rule: UpdateRule,
    optimizee: Optimizee,
    num_steps: int,
    posterior: HaltingPosterior | None = None,
    score_at: Sequence[int] = (),
) -> Path:
    """Run ``rule`` for ``num_steps`` on all problems, ``CHUNK`` at a time, and keep what stop rules may know."""
    device = next(iter(optimizee.init.values())).device
    chunks = torch.arange(optimizee.num, device=device).split(CHUNK)
    parts = [_follow(rule, optimizee.select(some), num_steps, posterior, score_at) for some in chunks]
    if len(parts) == 1:
        return parts[0]

    known = []
    for rows in zip(*(part.known for part in parts), strict=True):
        step, loss, grad_norm, hazard, halted = zip(*rows, strict=True)
        followed = posterior is not None
        joined = (torch.cat(hazard), torch.cat(halted)) if followed else (None, None)
        known.append(Known(step[0], torch.cat(loss), torch.cat(grad_norm), *joined))
    scores = {
        step: Score(*map(torch.cat, zip(*(part.scores[step] for part in parts), strict=True)))
        for step in parts[0].scores
    }
    return Path(torch.cat([part.nll for part in parts], 1), known, scores)


def _follow(
    rule: UpdateRule,
    optimizee: Optimizee,
    num_steps: int,
    posterior: HaltingPosterior | None,
    score_at: Sequence[int],
) -> Path:
    scores: dict[int, Score] = {}
    with torch.no_grad():
        walk, following = Walk(rule, optimizee), Following(posterior)
        losses, known = [walk.observe()], []
        for step in range(1, num_steps + 1):
            walk.move()
            losses.append(walk.observe())
            at = following.observe(step, walk.look())
            known.append(at.map(lambda value: value.cpu().double()))
            if step in score_at and (score := optimizee.test_score(walk.params)) is not None:
                scores[step] = Score(*(values.cpu().double() for values in score))
        return Path(torch.stack(losses).cpu().double(), known, scores)


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
    options: Mapping[str, Mapping[str, Any]] = NOTHING,
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

    def add(label: str, seed: int, paths: Mapping[int, Path], rates: Mapping[int, float]) -> None:
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
        path = follow(contestant.rule, optimizee, last, score_at=at)
        add(contestant.label, contestant.seed, dict.fromkeys(at, path), {})
    for name in baselines:
        if name == "cg":
            nll = conjugate_gradient(optimizee, last).cpu()
            add(LIMIT, -1, dict.fromkeys(at, Path(nll, [], {})), {})
            continue
        extra = options.get(name, NOTHING)
        rates = tuned_rates(name, experiment, at, extra)
        paths: dict[int, Path] = {}
        by_rate: dict[float, list[int]] = {}
        for step, lr in rates.items():
            by_rate.setdefault(lr, []).append(step)
        for lr, steps in by_rate.items():
            path = follow(RULES.build(name, {**extra, "lr": lr}), optimizee, max(steps), score_at=steps)
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


def retarget(experiment: Experiment, family: str, options: Mapping[str, object]) -> Experiment:
    """The experiment on another family (its own sizes of test and tuning sets), or with other family options."""
    if family == experiment.family and not options:
        return experiment
    other = Experiment.create(family=family, family_options=dict(options))
    return replace(
        experiment,
        family=family,
        family_options=dict(options),
        validation_problems=other.validation_problems,
        test_problems=other.test_problems,
    )
