"""The numbers of ``halt-stats``, from a posterior file alone; nothing here needs torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from probact.inference.posteriors.base import NO_HALTING
from probact.reports.posterior_file import tables

HALTING_LEVEL = 0.3
"""Share of q(t|x) that a problem's halting step leaves behind.  The posterior keeps the prior's long tail after
convergence, so that its median waits ~1/(1 - nu) steps longer than pays; 0.3 was nearest to the best of both worlds
(cost and rank correlation with the exact MAP step) on ``mixed``."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def halting_step(tree: xr.DataTree, level: float = HALTING_LEVEL) -> xr.DataArray:
    """The first step by which q(t|x) has put mass >= ``level`` in (0, 1), (chain, optimizee).

    Without a halting posterior: the exact MAP step.
    """
    data = tables(tree)
    if tree.attrs["halting"] == NO_HALTING:
        return map_step(tree)
    return 1 + (data.halt_pmf.cumsum("step") >= level * (1 - 1e-9)).argmax("step")


def map_step(tree: xr.DataTree) -> xr.DataArray:
    """argmax_t p(t|x), (chain, optimizee): in hindsight the step with the smallest nll_t - t log nu."""
    return 1 + tables(tree).exact_pmf.argmax("step")


def halting_statistics(tree: xr.DataTree, level: float = HALTING_LEVEL) -> dict[str, Any]:
    """The numbers of ``halt-stats``: over problems and chains, NaN where undefined.

    ``halting``: of each problem's halting step (``halting_step``); ``quantiles``: of the mixture of q(t|x) over the
    problems, and of the prior; ``rank_correlation``: Spearman's, between halting step and exact MAP step, within
    chains; losses and gaps in nats.  Problems that diverged are left out and counted.
    """
    data = tables(tree)
    finite = np.isfinite(data.loss_path).all(("chain", "step"))
    if not bool(finite.any()):
        raise ValueError(f"all {finite.size} problems diverged: there is nothing to report")
    data = data.sel(optimizee=finite)
    halting, exact_map = halting_step(tree, level).sel(optimizee=finite), map_step(tree).sel(optimizee=finite)
    learned = tree.attrs["halting"] != NO_HALTING
    loss_at_halting = data.loss_path.sel(step=halting)
    mixture, steps = data.halt_pmf.mean(("chain", "optimizee")), data.step
    horizon = int(tree.attrs["horizon"])

    def quantiles(pmf: xr.DataArray) -> dict[str, int]:
        cdf = pmf.cumsum("step")
        return {str(level): 1 + int((cdf >= level * (1 - 1e-9)).argmax("step")) for level in QUANTILES}

    def moments(pmf: xr.DataArray) -> dict[str, float]:
        mean = float((pmf * steps).sum("step"))
        return {"mean": mean, "sd": float((pmf * (steps - mean) ** 2).sum("step")) ** 0.5}

    result: dict[str, Any] = {
        "num_optimizees": int(finite.sum()),
        "num_diverged": int((~finite).sum()),
        "level": level,
        "halting": {
            "min": int(halting.min()),
            "max": int(halting.max()),
            "mean": float(halting.mean()),
            "sd": float(halting.std("optimizee", ddof=1).mean()),
            "median": float(halting.median()),
        },
        "posterior": {**moments(mixture), "quantiles": quantiles(mixture)},
        "prior": {**moments(data.prior_pmf), "quantiles": quantiles(data.prior_pmf)},
        "horizon": {
            "prior_mean": float((data.horizon_prior * data.horizon).sum()),
            "posterior_mean": float((data.exact_horizon_pmf * data.horizon).sum("horizon").mean()),
        },
        "map": {"mean": float(exact_map.mean()), "sd": float(exact_map.std("optimizee", ddof=1).mean())},
        "elbo": float(data.elbo.mean()),
        "log_evidence": float(data.log_evidence.mean()),
        "amortisation_gap": float(data.amortisation_gap.mean()),
        "horizon_gap": float(data.horizon_gap.mean()),
        "rank_correlation": _rank_correlation(halting, exact_map) if learned else float("nan"),
        "loss_at_halting": float(loss_at_halting.mean()),
        "loss_at_horizon": float(data.loss_path.isel(step=-1).mean()),
        "steps_saved": float(horizon - halting.mean()),
    }
    return result


def _rank_correlation(a: xr.DataArray, b: xr.DataArray) -> float:
    """Spearman's rank correlation over the problems, mean over chains; NaN where one of them is constant."""
    from scipy.stats import spearmanr

    pairs = list(zip(a.values, b.values, strict=True))
    if any(np.ptp(x) == 0 or np.ptp(y) == 0 for x, y in pairs):
        return float("nan")
    return float(np.mean([spearmanr(x, y).statistic for x, y in pairs]))
