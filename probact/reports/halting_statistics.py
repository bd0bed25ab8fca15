"""The numbers of ``halt-stats``, from a posterior file alone; nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr

from probact.reports.posterior_file import has_posterior, kl_scale, tables
from probact.reports.verdict import Stopping, correlation, spread, verdict, worth
from probact.support.results import Result
from probact.support.statistics import quantiles

NAN = float("nan")


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
    :ivar halting: of each problem's halting step, where the optimizer's own stop rule stops it.
    :ivar stopping: what that is worth.
    :ivar posterior, exact, prior: the mixtures over the problems of q(t|x) and of the exact posterior at ``kl_scale``,
        and p(t).
    :ivar map: of each problem's exact MAP step at ``kl_scale``, the scale of the KL that q was trained at.
    :ivar mode: of the mode of each problem's q(t|x).
    :ivar loss_at_halting, loss_at_horizon: at the halting step, and after all H.
    :ivar steps_saved: mean of H - halting step.
    :ivar rank_correlation: Spearman's, of the modes of q(t|x) and of the exact posterior, within chains.
    :ivar tempered_gap: the amortisation gap at ``kl_scale``, in nats; the others are those of scale 1.
    """

    num_optimizees: int
    num_diverged: int
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
    mode: Moments = field(default_factory=lambda: Moments(mean=NAN, sd=NAN))
    exact: StepDistribution = field(default_factory=lambda: StepDistribution(mean=NAN, sd=NAN, quantiles={}))
    stopping: Stopping = field(default_factory=Stopping)
    kl_scale: float = 1.0
    tempered_gap: float = NAN


def halting_step(tree: xr.DataTree) -> xr.DataArray:
    """Where the optimizer's own stop rule stops, (chain, optimizee); the MAP step in a file that does not know."""
    data = tables(tree)
    return data.stop_own if "stop_own" in data else map_step(tree)


def map_step(tree: xr.DataTree) -> xr.DataArray:
    """argmax_t p(t) p(x|t)^(1 / kappa), (chain, optimizee); with prior ``flat`` the smallest nll_t - t kappa log nu."""
    return 1 + tables(tree).tempered_pmf.argmax("step")


def halting_statistics(tree: xr.DataTree) -> HaltingStatistics:
    """The numbers of ``halt-stats``; of the problems' own all are NaN (the steps 0) if every problem diverged."""
    data = tables(tree)
    finite = np.isfinite(data.loss_path).all(("chain", "step"))
    if not bool(finite.any()):
        return _of_none(data, finite.size, kl_scale(tree))
    data = data.sel(optimizee=finite)
    modes = 1 + data.halt_pmf.argmax("step")
    halting, exact_map = halting_step(tree).sel(optimizee=finite), map_step(tree).sel(optimizee=finite)
    statistics = HaltingStatistics(
        num_optimizees=int(finite.sum()),
        num_diverged=int((~finite).sum()),
        halting=HaltingSteps(
            **vars(_moments(halting)), min=int(halting.min()), max=int(halting.max()), median=float(halting.median())
        ),
        posterior=_distribution(data.halt_pmf.mean(("chain", "optimizee"))),
        exact=_distribution(data.tempered_pmf.mean(("chain", "optimizee"))),
        prior=_distribution(data.prior_pmf),
        horizon=HorizonMeans(
            prior_mean=_mean_horizon(data),
            posterior_mean=float((data.tempered_horizon_pmf * data.horizon).sum("horizon").mean()),
        ),
        map=_moments(exact_map),
        mode=_moments(modes),
        rank_correlation=correlation(modes, exact_map) if has_posterior(tree) else NAN,
        elbo=float(data.elbo.mean()),
        log_evidence=float(data.log_evidence.mean()),
        amortisation_gap=float(data.amortisation_gap.mean()),
        horizon_gap=float(data.horizon_gap.mean()),
        loss_at_halting=float(data.loss_path.sel(step=halting).mean()),
        loss_at_horizon=float(data.loss_path.isel(step=-1).mean()),
        steps_saved=float(data.sizes["step"] - halting.mean()),
        kl_scale=kl_scale(tree),
        tempered_gap=float(data.tempered_gap.mean()),
    )
    if "stop_own" not in data:
        return statistics
    stopping = worth(data, tree.attrs["price"], tree.attrs["stop_rules"], bool(tree.attrs.get("stop_is_learned", 1)))
    return replace(statistics, stopping=replace(stopping, verdict=verdict(statistics, stopping)))


def _of_none(data: xr.Dataset, num_diverged: int, scale: float) -> HaltingStatistics:
    return HaltingStatistics(
        kl_scale=scale,
        elbo=NAN,
        log_evidence=NAN,
        amortisation_gap=NAN,
        horizon_gap=NAN,
        rank_correlation=NAN,
        loss_at_halting=NAN,
        loss_at_horizon=NAN,
        steps_saved=NAN,
        num_optimizees=0,
        num_diverged=num_diverged,
        halting=HaltingSteps(mean=NAN, sd=NAN, min=0, max=0, median=NAN),
        posterior=StepDistribution(mean=NAN, sd=NAN, quantiles={}),
        prior=_distribution(data.prior_pmf),
        horizon=HorizonMeans(prior_mean=_mean_horizon(data), posterior_mean=NAN),
        map=Moments(mean=NAN, sd=NAN),
    )


def _mean_horizon(data: xr.Dataset) -> float:
    return float((data.horizon_prior * data.horizon).sum())


def _moments(steps: xr.DataArray) -> Moments:
    return Moments(mean=float(steps.mean()), sd=spread(steps))


def _distribution(pmf: xr.DataArray) -> StepDistribution:
    mean = float((pmf * pmf.step).sum("step"))
    sd = float((pmf * (pmf.step - mean) ** 2).sum("step")) ** 0.5
    return StepDistribution(mean=mean, sd=sd, quantiles=quantiles(pmf.values))
