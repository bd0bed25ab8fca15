"""The numbers of ``sweep``, from the posterior files of its runs; nothing here needs torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from probact.reports import posterior_file
from probact.reports.halting_statistics import halting_step
from probact.reports.posterior_file import has_posterior
from probact.reports.verdict import spread
from probact.support.results import Result
from probact.support.statistics import standard_error

NAN = math.nan


@dataclass(frozen=True, kw_only=True)
class SweptRun(Result):
    """One point of the grid: means over held-out problems and seeds, ``_sem`` the standard error over the seeds.

    :ivar values: setting -> its value, as text.
    :ivar num_seeds, num_diverged: chains, and problems that diverged in one of them and are left out.
    :ivar price: of a step, in nats: that of the run itself.
    :ivar steps, steps_sd: where its own stop stops; the deviation is from problem to problem.
    :ivar loss, J: at that step, in nats, without and with the price of the steps.
    :ivar log_evidence, gap: in nats, under the run's own prior; the gap is from the bound of q to the evidence, NaN
        without a posterior.
    :ivar seconds: of training and report, NaN where no summary says so.
    """

    values: dict[str, str]
    prior_nu: float
    num_seeds: int
    num_diverged: int
    price: float
    steps: float
    steps_sem: float
    steps_sd: float
    loss: float
    loss_sem: float
    J: float
    J_sem: float
    log_evidence: float
    log_evidence_sem: float
    gap: float
    seconds: float = NAN

    @property
    def name(self) -> str:
        return ", ".join(f"{setting} {value}" for setting, value in self.values.items())


@dataclass(frozen=True, kw_only=True)
class Swept(Result):
    """All points of a grid, in its order.

    :ivar varied: the settings that vary; the runs' families and horizons may be among them.
    """

    varied: tuple[str, ...]
    family: str
    runs: tuple[SweptRun, ...]

    @property
    def richest(self) -> SweptRun | None:
        """The point with the largest evidence; None where the runs are not of the same family, or all diverged."""
        known = [run for run in self.runs if not math.isnan(run.log_evidence)]
        return None if "family" in self.varied or not known else max(known, key=lambda run: run.log_evidence)


def swept(points: Sequence[Mapping[str, object]], trees: Sequence[xr.DataTree], seconds: Sequence[float] = ()) -> Swept:
    """What each run of a grid reached.

    :param points: of each run, setting -> value.
    :param trees: what its posterior file says.
    :param seconds: what it took.
    """
    took = seconds or [NAN] * len(trees)
    runs = tuple(_swept(*of_run) for of_run in zip(points, trees, took, strict=True))
    return Swept(varied=tuple(points[0]), family=str(trees[0].attrs["family"]), runs=runs)


def _swept(point: Mapping[str, object], tree: xr.DataTree, seconds: float) -> SweptRun:
    data, cost = posterior_file.finite(tree), posterior_file.price(tree)
    stop = halting_step(tree).sel(optimizee=data.optimizee)
    loss = data.loss_path.sel(step=stop)
    over_problems = {"steps": stop, "loss": loss, "J": loss + cost * stop, "log_evidence": data.log_evidence}
    numbers: dict[str, float] = {}
    for name, values in over_problems.items():
        of_seeds = values.mean("optimizee").values
        numbers |= {name: float(np.mean(of_seeds)), f"{name}_sem": standard_error(of_seeds)}
    return SweptRun(
        values={name.replace("_", "-"): str(value) for name, value in point.items()},
        prior_nu=float(tree.attrs["prior_nu"]),
        num_seeds=data.sizes["chain"],
        num_diverged=tree["constant_data"].sizes["optimizee"] - data.sizes["optimizee"],
        price=cost,
        steps_sd=spread(stop),
        gap=float((data.amortisation_gap + data.horizon_gap).mean()) if has_posterior(tree) else NAN,
        seconds=seconds,
        **numbers,
    )


def finding(found: Swept) -> str:
    """For which point the losses speak, and whether a longer grid might have another."""
    best = found.richest
    if best is None:
        return "The runs are of different problems: their evidence is not compared."
    text = f"The losses speak for {best.name}: log evidence {best.log_evidence:.4g} nats a problem"
    others = [run for run in found.runs if run is not best and not math.isnan(run.log_evidence)]
    if not others:
        return f"Log evidence of {best.name}: {best.log_evidence:.4g} nats a problem; there is no other to compare."
    second = max(others, key=lambda run: run.log_evidence)
    error = math.hypot(best.log_evidence_sem, second.log_evidence_sem)
    ahead = best.log_evidence - second.log_evidence
    text += f", {ahead:.2g} above {second.name}"
    if math.isnan(error):
        text += " (one seed each: no standard error)"
    elif ahead <= 2 * error:
        text += f", which is within two standard errors over the seeds ({error:.2g} each)"
    nus = sorted({run.prior_nu for run in found.runs})
    if len(nus) > 2 and best.prior_nu in (nus[0], nus[-1]):
        text += f".  nu {best.prior_nu:g} is at the end of the grid: go on beyond it"
    return f"{text}."
