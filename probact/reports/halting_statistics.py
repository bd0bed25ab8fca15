"""The numbers of ``halt-stats``, from a posterior file alone; nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import xarray as xr

from probact.reports.posterior_file import has_posterior, kl_scale, tables
from probact.support.results import Result
from probact.support.statistics import quantiles, rank_correlation

HALTING_LEVEL = 0.3
"""Share of q(t|x) that a problem's halting step leaves behind.  The posterior keeps the prior's long tail after
convergence, so that its median waits ~1/(1 - nu) steps longer than pays; 0.3 was nearest to the best of both worlds
(cost and rank correlation with the exact MAP step) on ``mixed``."""


@dataclass(frozen=True, kw_only=True)
class Moments(Result):
    mean: float
    sd: float


@dataclass(frozen=True, kw_only=True)
class HaltingSteps(Moments):
    """Of the problems' halting steps; ``sd`` is over the problems, the mean over chains."""

    min: int
    max: int
    median: float


@dataclass(frozen=True, kw_only=True)
class StepDistribution(Moments):
    """Of a distribution over steps; ``quantiles``: level, as text -> step."""

    quantiles: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class HorizonMeans(Result):
    """E[T] under the prior, and under the exact posterior at ``kl_scale`` as mean over the problems."""

    prior_mean: float
    posterior_mean: float


@dataclass(frozen=True, kw_only=True)
class HaltingStatistics(Result):
    """How problems halt, over problems and chains; losses, evidence and gaps in nats, NaN where undefined.

    :ivar num_optimizees, num_diverged: problems counted, and those left out as they diverged.
    :ivar level: share of q(t|x) that is spent at a problem's halting step.
    :ivar halting: of each problem's halting step (``halting_step``).
    :ivar posterior, prior: the mixture of q(t|x) over the problems, and p(t).
    :ivar map: of each problem's exact MAP step at ``kl_scale``, the scale of the KL that q was trained at.
    :ivar tempered_gap: the amortisation gap at ``kl_scale``, in nats; the others are those of scale 1.
    :ivar rank_correlation: Spearman's, between halting step and exact MAP step, within chains.
    :ivar steps_saved: mean of H - halting step.
    """

    num_optimizees: int
    num_diverged: int
    level: float
    halting: HaltingSteps
    posterior: StepDistribution
    prior: StepDistribution
    horizon: HorizonMeans
    map: Moments
    elbo: float
    log_evidence: float
    amortisation_gap: float
    horizon_gap: float
    rank_correlation: float
    loss_at_halting: float
    loss_at_horizon: float
    steps_saved: float
    kl_scale: float = 1.0
    tempered_gap: float = float("nan")


def halting_step(tree: xr.DataTree, level: float = HALTING_LEVEL) -> xr.DataArray:
    """The first step by which q(t|x) has put mass >= ``level`` in (0, 1), (chain, optimizee).

    Without a halting posterior: the exact MAP step.
    """
    data = tables(tree)
    if not has_posterior(tree):
        return map_step(tree)
    return 1 + (data.halt_pmf.cumsum("step") >= level * (1 - 1e-9)).argmax("step")


def map_step(tree: xr.DataTree) -> xr.DataArray:
    """argmax_t p(t) p(x|t)^(1 / kappa), (chain, optimizee): in hindsight the smallest nll_t - t kappa log nu."""
    return 1 + tables(tree).tempered_pmf.argmax("step")


def halting_statistics(tree: xr.DataTree, level: float = HALTING_LEVEL) -> HaltingStatistics:
    """The numbers of ``halt-stats``; of the problems' own all are NaN (the steps 0) if every problem diverged."""
    data = tables(tree)
    finite = np.isfinite(data.loss_path).all(("chain", "step"))
    if not bool(finite.any()):
        return _of_none(data, finite.size, level, kl_scale(tree))
    data = data.sel(optimizee=finite)
    halting, exact_map = halting_step(tree, level).sel(optimizee=finite), map_step(tree).sel(optimizee=finite)
    correlations = [rank_correlation(*pair) for pair in zip(halting.values, exact_map.values, strict=True)]
    return HaltingStatistics(
        num_optimizees=int(finite.sum()),
        num_diverged=int((~finite).sum()),
        level=level,
        halting=HaltingSteps(
            **vars(_moments(halting)), min=int(halting.min()), max=int(halting.max()), median=float(halting.median())
        ),
        posterior=_distribution(data.halt_pmf.mean(("chain", "optimizee"))),
        prior=_distribution(data.prior_pmf),
        horizon=HorizonMeans(
            prior_mean=_mean_horizon(data),
            posterior_mean=float((data.tempered_horizon_pmf * data.horizon).sum("horizon").mean()),
        ),
        map=_moments(exact_map),
        elbo=float(data.elbo.mean()),
        log_evidence=float(data.log_evidence.mean()),
        amortisation_gap=float(data.amortisation_gap.mean()),
        horizon_gap=float(data.horizon_gap.mean()),
        rank_correlation=float(np.mean(correlations)) if has_posterior(tree) else float("nan"),
        loss_at_halting=float(data.loss_path.sel(step=halting).mean()),
        loss_at_horizon=float(data.loss_path.isel(step=-1).mean()),
        steps_saved=float(int(tree.attrs["horizon"]) - halting.mean()),
        kl_scale=kl_scale(tree),
        tempered_gap=float(data.tempered_gap.mean()),
    )


def _of_none(data: xr.Dataset, num_diverged: int, level: float, scale: float) -> HaltingStatistics:
    nan = float("nan")
    numbers = {field.name: nan for field in fields(HaltingStatistics) if field.type == "float"}
    return HaltingStatistics(
        **{**numbers, "level": level, "kl_scale": scale},
        num_optimizees=0,
        num_diverged=num_diverged,
        halting=HaltingSteps(mean=nan, sd=nan, min=0, max=0, median=nan),
        posterior=StepDistribution(mean=nan, sd=nan, quantiles={}),
        prior=_distribution(data.prior_pmf),
        horizon=HorizonMeans(prior_mean=_mean_horizon(data), posterior_mean=nan),
        map=Moments(mean=nan, sd=nan),
    )


def _mean_horizon(data: xr.Dataset) -> float:
    return float((data.horizon_prior * data.horizon).sum())


def _moments(steps: xr.DataArray) -> Moments:
    many = steps.sizes["optimizee"] > 1
    return Moments(mean=float(steps.mean()), sd=float(steps.std("optimizee", ddof=1).mean()) if many else float("nan"))


def _distribution(pmf: xr.DataArray) -> StepDistribution:
    mean = float((pmf * pmf.step).sum("step"))
    sd = float((pmf * (pmf.step - mean) ** 2).sum("step")) ** 0.5
    return StepDistribution(mean=mean, sd=sd, quantiles=quantiles(pmf.values))
