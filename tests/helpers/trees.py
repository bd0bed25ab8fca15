"""Posterior files of problems made up by hand: no optimizer, no torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from probact.reports.posterior_file import described

NUM, HORIZON, NU = 40, 30, 0.9
PRICE = -math.log(NU)


def made_up_tree(
    num_chains: int = 1, *, num: int = NUM, horizon: int = HORIZON, learned: bool = True, off: int = 0,
    kappa: float = 1.0, num_draws: int = 50,
) -> xr.DataTree:  # fmt: skip
    """Losses that fall by a problem's own pace; q is the exact posterior, ``off`` steps later.

    The own stop is two steps late, the budget 6 steps, patience three steps late.
    """
    random = np.random.default_rng(0)
    steps, pace = np.arange(1, horizon + 1), np.exp(random.uniform(0, 2, (num_chains, num, 1)))
    path = 10 + 8 * np.exp(-steps / pace) + 0.01 * random.random((num_chains, num, horizon))
    prior = NU ** (steps - 1.0) / (NU ** (steps - 1.0)).sum()

    def posterior(scale: float) -> Any:
        joint = prior * np.exp(-(path - path.min(-1, keepdims=True)) / scale)
        return joint / joint.sum(-1, keepdims=True)

    exact, tempered = posterior(1.0), posterior(kappa)
    q = np.roll(tempered, off, -1) if learned else exact
    best = 1 + (path + PRICE * steps).argmin(-1)
    evidence = np.log((prior * np.exp(-path)).sum(-1))
    kl = (q * np.log(q / exact)).sum(-1) if learned else np.full(best.shape, np.nan)
    stops = {"own": best + 2, "budget": np.full_like(best, 6), "patience": best + 3, "oracle": best}
    per_step, per_problem = ("chain", "optimizee", "step"), ("chain", "optimizee")
    tables: dict[str, Any] = {
        "halt_pmf": (per_step, q),
        "exact_pmf": (per_step, exact),
        "tempered_pmf": (per_step, tempered),
        "tempered_horizon_pmf": (("chain", "optimizee", "horizon"), np.full(path.shape, 1 / horizon)),
        "loss_path": (per_step, path),
        "initial_loss": (per_problem, np.full(best.shape, 18.0)),
        "log_evidence": (per_problem, evidence),
        "elbo": (per_problem, evidence - kl - 0.02),
        "amortisation_gap": (per_problem, kl),
        "tempered_gap": (per_problem, kl),
        "horizon_gap": (per_problem, np.full_like(kl, 0.02)),
        "optimum": ("optimizee", np.full(num, 10.0)),
        "prior_pmf": ("step", prior),
        **{f"stop_{name}": (per_problem, np.minimum(stop, horizon)) for name, stop in stops.items()},
    }
    coords = {"chain": range(num_chains), "optimizee": range(num), "difficulty": ("optimizee", best.mean(0))}
    cdf = q.cumsum(-1)[:, None]
    uniform = random.random((num_chains, num_draws, num, 1)) * cdf[..., -1:]
    draws = xr.Dataset(
        {"t": (("chain", "draw", "optimizee"), 1 + (uniform >= cdf).sum(-1))}, {**coords, "draw": range(num_draws)}
    )
    constant = xr.Dataset(tables, {**coords, "step": steps})
    tree = xr.DataTree.from_dict({"posterior": described(draws), "constant_data": described(constant)})
    tree.attrs = {
        "family": "made up", "rule": "none", "halting": "stick-breaking" if learned else "none", "objective": "elbo",
        "prior_nu": NU, "horizon": horizon, "kl_scale": kappa, "tempered_at": kappa, "price": PRICE,
        "stop_rules": "hazard >= 0.05",
    }  # fmt: skip
    return tree


def made_up_records(num: int = 40, best: int = 20) -> list[dict[str, Any]]:
    """Metrics of a training that validated best at meta-step ``best``."""
    return [
        {"step": step, "loss": 12 + 5 / step, "mean_halting": 8.0,
         "validation": 12 + 0.01 * abs(step - best) if step % 5 == 0 else None}
        for step in range(1, num + 1)
    ]  # fmt: skip
