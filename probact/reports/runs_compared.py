"""The numbers of ``compare``, from posterior files of runs on the same problems; nothing here needs torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from probact.reports import posterior_file
from probact.reports.halting_statistics import halting_step
from probact.reports.posterior_file import has_posterior, tables
from probact.reports.verdict import spread
from probact.support.extras import is_installed
from probact.support.results import Result
from probact.support.statistics import standard_error

NAN = math.nan
FEW_SEEDS = 3


@dataclass(frozen=True, kw_only=True)
class ComparedRun(Result):
    """One run; means over problems and training seeds, losses, evidence and gaps in nats.

    :ivar num_seeds: independently trained chains.
    :ivar loss: at the run's own stop; ``loss_sem`` its standard error over the problems (of the mean over seeds).
    :ivar steps, steps_sd: where that stops; the deviation is from problem to problem.
    :ivar J: loss + price * steps; ``J_seed_sem`` its standard error over the seeds, NaN for one.
    :ivar difference: J less that of the run with the smallest J, problem by problem; ``difference_sem`` the standard
        error over the problems, NaN for that run itself.
    :ivar wins: share of the problems where its J is below that run's.
    :ivar log_evidence, elbo, amortisation_gap, horizon_gap: under the run's own prior; NaN without a posterior.
    :ivar evidence_difference, evidence_difference_sem: of the log evidence to the largest, mean over the problems.
    :ivar weight: in the stacking of the runs' predictions p(x) (Yao et al. 2018); NaN for a single problem, or
        without ArviZ.
    :ivar seconds: of training and report, NaN where no summary says so.
    """

    run: str
    rule: str
    halting: str
    objective: str
    prior_nu: float
    horizon: int
    num_seeds: int
    loss: float
    loss_sem: float
    loss_at_horizon: float
    steps: float
    steps_sd: float
    J: float
    J_seed_sem: float
    difference: float
    difference_sem: float
    wins: float
    log_evidence: float
    elbo: float
    amortisation_gap: float
    horizon_gap: float
    evidence_difference: float
    evidence_difference_sem: float
    weight: float
    seconds: float = NAN


@dataclass(frozen=True, kw_only=True)
class RunsCompared(Result):
    """Runs on the same held-out problems, from the smallest J on.

    :ivar price: of a step, in nats, the same for all runs.
    :ivar num_optimizees, num_diverged: problems counted, and those left out as they diverged in some run.
    """

    family: str
    family_options: dict[str, Any]
    price: float
    num_optimizees: int
    num_diverged: int
    runs: tuple[ComparedRun, ...]


def compared(
    trees: Mapping[str, xr.DataTree], price: float | None = None, seconds: Mapping[str, float] | None = None
) -> RunsCompared:
    """Compare runs on the problems that diverged in none of them.

    :param trees: name of the run -> what its posterior file says, of two runs or more.
    :param price: nats a step; by default that of the first run.
    :param seconds: name of the run -> what training and report took.
    :raises ValueError: if the runs are not of the same problems, or each problem diverged in one of them.
    """
    first, *others = trees
    for name in others:
        check_same_problems(first, trees[first], name, trees[name])
    data = {name: tables(tree) for name, tree in trees.items()}
    finite = finite_in_all(trees)
    if not finite.any():
        raise ValueError(f"nothing to compare: each of the {finite.size} problems diverged in some run")
    data = {name: one.isel(optimizee=finite) for name, one in data.items()}
    cost = posterior_file.price(trees[first]) if price is None else price
    stops = {name: halting_step(tree).isel(optimizee=finite) for name, tree in trees.items()}
    J = {name: _at(one, stops[name]) + cost * stops[name] for name, one in data.items()}
    evidence = {name: one.log_evidence.mean("chain").values for name, one in data.items()}
    richest = max(evidence, key=lambda name: float(evidence[name].mean()))
    weights = _weights(evidence)
    best = min(J, key=lambda name: float(J[name].mean()))
    runs = [
        ComparedRun(
            run=name,
            rule=str(trees[name].attrs["rule"]),
            halting=str(trees[name].attrs["halting"]),
            objective=str(trees[name].attrs["objective"]),
            prior_nu=float(trees[name].attrs["prior_nu"]),
            horizon=int(trees[name].attrs["horizon"]),
            **_of_stop(one, stops[name], J[name], J[best], name == best),
            **_of_evidence(one, has_posterior(trees[name])),
            evidence_difference=float((evidence[name] - evidence[richest]).mean()),
            evidence_difference_sem=NAN if name == richest else standard_error(evidence[name] - evidence[richest]),
            weight=weights.get(name, NAN),
            seconds=(seconds or {}).get(name, NAN),
        )
        for name, one in data.items()
    ]
    return RunsCompared(
        family=str(trees[first].attrs["family"]),
        family_options=_which_problems(trees[first]).get("family_options", {}),
        price=cost,
        num_optimizees=int(finite.sum()),
        num_diverged=int((~finite).sum()),
        runs=tuple(sorted(runs, key=lambda run: run.J)),
    )


def finite_in_all(trees: Mapping[str, xr.DataTree]) -> np.ndarray:
    """The problems ``(L,)`` that diverged in no run."""
    paths = [tables(tree).loss_path for tree in trees.values()]
    return np.logical_and.reduce([np.isfinite(path).all(("chain", "step")).values for path in paths])


def check_same_problems(first: str, of_first: xr.DataTree, name: str, tree: xr.DataTree) -> None:
    """:raises ValueError: unless two runs were reported on the same held-out problems."""
    a, b = _which_problems(of_first), _which_problems(tree)
    for key in (key for key in a if a[key] != b.get(key, a[key])):
        raise ValueError(
            f"compare: expected runs on the same problems, got {key.replace('_', ' ')} {a[key]!r} in {first} and "
            f"{b[key]!r} in {name}"
        )


def _which_problems(tree: xr.DataTree) -> dict[str, Any]:
    """What says which held-out problems a report is of; files of 0.1.0 know the family and their number alone."""
    settings = json.loads(tree.attrs.get("settings", "{}"))
    known = {key: settings[key] for key in ("family_options",) if key in settings}
    return {"family": tree.attrs["family"], **known, "number_of_problems": tree["constant_data"].sizes["optimizee"]}


def _at(data: xr.Dataset, stop: xr.DataArray) -> xr.DataArray:
    """The loss where it stops, (chain, optimizee)."""
    return data.loss_path.sel(step=stop).drop_vars("step")


def _of_stop(data: xr.Dataset, stop: xr.DataArray, J: xr.DataArray, J_best: xr.DataArray, is_best: bool) -> Any:
    loss, own, least = _at(data, stop), J.mean("chain").values, J_best.mean("chain").values
    of_seeds = J.mean("optimizee").values
    return {
        "num_seeds": data.sizes["chain"],
        "loss": float(loss.mean()),
        "loss_sem": standard_error(loss.mean("chain").values),
        "loss_at_horizon": float(data.loss_path.isel(step=-1).mean()),
        "steps": float(stop.mean()),
        "steps_sd": spread(stop),
        "J": float(own.mean()),
        "J_seed_sem": standard_error(of_seeds),
        "difference": float((own - least).mean()),
        "difference_sem": NAN if is_best else standard_error(own - least),
        "wins": NAN if is_best else float((own < least).mean()),
    }


def _of_evidence(data: xr.Dataset, learned: bool) -> Any:
    numbers = ("elbo", "amortisation_gap", "horizon_gap")
    return {
        "log_evidence": float(data.log_evidence.mean()),
        **{name: float(data[name].mean()) if learned else NAN for name in numbers},
    }


def _weights(evidence: Mapping[str, np.ndarray]) -> dict[str, float]:
    """None without ArviZ, which the extra ``plots`` brings, and of a single problem."""
    if len(next(iter(evidence.values()))) == 1 or not is_installed("plots"):
        return {}
    from probact.reports.arviz_seam import stacking_weights

    return stacking_weights(evidence)
