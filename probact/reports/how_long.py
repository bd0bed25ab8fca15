"""How long these problems want to be optimized: the evidence of nu, the best nu, its posterior, and a word on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from probact.inference.continuation import OfNu, best_nu, log_evidence_at, sample_nu, sample_nu_of_kinds
from probact.support.results import Result
from probact.support.words import counted

GRID = 101
TOO_SMALL = 0.9
"""Share of the largest mean step that the prior can have, from which on an interval does not end within H."""
CONVERGED = 1.01
"""R-hat up to which draws have converged (Vehtari et al. 2021)."""
COLUMNS = ("mean", "sd", "5 %", "95 %", "steps", "r_hat", "ess")


@dataclass(frozen=True, kw_only=True)
class NuPosterior(Result):
    """Of one nu, by NUTS.

    :ivar low, high: the interval with 90 % of the draws, and 5 % on either side.
    :ivar steps: E[t] of the prior with its cap, mean over the draws.
    :ivar r_hat, ess: rank-normalised split R-hat and bulk effective sample size (Vehtari et al. 2021).
    """

    mean: float
    sd: float
    low: float
    high: float
    steps: float
    r_hat: float
    ess: float


@dataclass(frozen=True, kw_only=True)
class HowLong(Result):
    """Which nu the losses of some problems speak for.

    :ivar horizon: H, the most steps that were taken.
    :ivar kl_scale: kappa: losses count 1 / kappa, as q was trained; ``nu`` and ``evidence`` are at that scale.
    :ivar trained_nu: the nu that q was trained with.
    :ivar nu, evidence: of the curve: mean over the problems of log p(x|nu), in nats.
    :ivar best: the nu of the largest evidence; ``low`` and ``high``: 1.96 standard errors around it, NaN at an end.
    :ivar end: why there is no best nu: "longer", "shorter" or "silent"; else empty.
    :ivar gain: what the best nu gains over the trained one, nats a problem.
    :ivar said: the answer in words.
    :ivar posterior: kind of problems -> the posterior of its nu; empty if not asked for.
    """

    num_optimizees: int
    horizon: int
    kl_scale: float
    trained_nu: float
    nu: tuple[float, ...]
    evidence: tuple[float, ...]
    best: float
    low: float
    high: float
    end: str
    gain: float
    said: str
    posterior: dict[str, NuPosterior] = field(default_factory=dict)


def how_long(
    losses: Mapping[str, Tensor],
    of_nu: OfNu,
    trained_nu: float,
    kl_scale: float = 1.0,
    posterior: xr.DataTree | None = None,
) -> HowLong:
    """From the losses of finite problems after 1..H steps, kind -> ``(H, L)``.

    :param of_nu: the prior at any nu.
    :param posterior: from ``posterior_of_nu``.
    """
    together = torch.cat([*_log_likelihoods(losses, kl_scale).values()], 1)
    horizon, num = together.shape
    found = best_nu(together, of_nu)
    low, high = found.interval()
    logits = torch.linspace(-3, 9, GRID - 1, dtype=torch.float64)
    grid = torch.sigmoid(torch.cat([logits, torch.logit(torch.tensor([found.nu], dtype=torch.float64))])).sort().values
    nu, curve = [], []
    for one in grid.tolist():
        with suppress(ValueError):  # a nu that this prior has no place for
            curve.append(_evidence(one, together, of_nu))
            nu.append(one)
    steps = [] if found.end else [_mean_step(min(max(value, nu[0]), nu[-1]), of_nu) for value in (found.nu, low, high)]
    return HowLong(
        num_optimizees=num,
        horizon=horizon,
        kl_scale=kl_scale,
        trained_nu=trained_nu,
        nu=tuple(nu),
        evidence=tuple(curve),
        best=found.nu,
        low=low,
        high=high,
        end=found.end,
        gain=max(curve) - _evidence(trained_nu, together, of_nu),
        said=_said(found.nu, steps, found.end, horizon, _mean_step(nu[-1], of_nu)),
        posterior={} if posterior is None else _summaries(posterior, of_nu),
    )


def _evidence(nu: float, log_likelihood: Tensor, of_nu: OfNu) -> float:
    return float(log_evidence_at(torch.tensor(nu, dtype=torch.float64), log_likelihood, of_nu).mean())


def _mean_step(nu: float, of_nu: OfNu) -> float:
    """E[t] of the prior with its cap."""
    return float(of_nu(torch.tensor(nu, dtype=torch.float64)).marginal().mean)


def _said(nu: float, steps: Sequence[float], end: str, horizon: int, most: float) -> str:
    """:param steps: the mean step at the best nu, and at both ends of its interval; most: the largest there can be."""
    if end == "silent":
        return "These losses say nothing of nu: the evidence is the same for all."
    if end == "longer":
        return (
            f"These problems want to be optimized for longer than H = {horizon} steps: the evidence rises with nu "
            "without an end."
        )
    if end == "shorter":
        return "These problems want no second step: the evidence falls with nu from the start."
    best, low, high = steps
    if high > TOO_SMALL * most:
        return (
            f"These problems want to be optimized for {low:.3g} steps or more on average, with 95 % confidence; "
            f"H = {horizon} is too small to tell how many more."
        )
    return (
        f"These problems want to be optimized for {best:.3g} steps on average, {low:.3g} to {high:.3g} with 95 % "
        f"confidence (nu = {nu:.4g})."
    )


def posterior_of_nu(
    losses: Mapping[str, Tensor], of_nu: OfNu, kl_scale: float = 1.0, *, draws: int, seed: int = 0
) -> xr.DataTree:
    """So many draws of ``nu (chain, draw, kind)`` by NUTS in each of two chains, for ArviZ.

    nu has the prior Beta(1, 1); of several kinds each has its own, and ``mu`` and ``tau (chain, draw)`` are drawn, too.
    """
    tables = _log_likelihoods(losses, kl_scale)
    if len(tables) == 1:
        (table,) = tables.values()
        found = {"nu": sample_nu(table, of_nu, num_draws=draws, seed=seed).unsqueeze(-1)}
    else:
        found = sample_nu_of_kinds(tables, of_nu, num_draws=draws, seed=seed)
    dims, coordinates = ("chain", "draw", "kind"), {"chain": [0, 1], "draw": np.arange(draws), "kind": [*tables]}
    variables = {name: (dims[: values.dim()], values.numpy()) for name, values in found.items()}
    return xr.DataTree.from_dict({"posterior": xr.Dataset(variables, coordinates, {"kl_scale": kl_scale})})


def _log_likelihoods(losses: Mapping[str, Tensor], kl_scale: float) -> dict[str, Tensor]:
    return {kind: -path.double() / kl_scale for kind, path in losses.items()}


def _summaries(posterior: xr.DataTree, of_nu: OfNu) -> dict[str, NuPosterior]:
    from probact.reports import arviz_seam

    nu, summaries = posterior["posterior"].to_dataset().nu, {}
    for kind in nu.kind.values:
        draws = nu.sel(kind=kind).values
        r_hat, ess = arviz_seam.convergence(draws)
        low, high = np.quantile(draws, [0.05, 0.95])
        steps = of_nu(torch.from_numpy(draws).clamp(1e-9, 1 - 1e-9)).marginal().mean
        summaries[str(kind)] = NuPosterior(
            mean=float(draws.mean()),
            sd=float(draws.std(ddof=1)),
            low=float(low),
            high=float(high),
            steps=float(steps.mean()),
            r_hat=r_hat,
            ess=ess,
        )
    return summaries


def table(found: HowLong) -> str:
    """The answer, some of the curve, and the posteriors."""
    at_scale = "" if found.kl_scale == 1 else f" at KL scale {found.kl_scale:g}"
    lines = [f"which nu? evidence of {counted(found.num_optimizees, 'problem')}{at_scale} (nats, mean over problems)"]
    lines.append(f"{'nu':>10}{'1/(1 - nu)':>14}{'log p(x|nu)':>14}")
    best = max(range(len(found.nu)), key=found.evidence.__getitem__)
    shown = sorted({*range(0, len(found.nu), 12), best})
    for k in shown:
        mark = "  best" if k == best else ""
        lines.append(f"{found.nu[k]:10.4f}{1 / (1 - found.nu[k]):14.4g}{found.evidence[k]:14.3f}{mark}")
    lines += [
        "",
        found.said,
        f"Over the nu of training, {found.trained_nu:g}, the best one gains {found.gain:.3g} nats{at_scale}.",
    ]
    if found.posterior:
        lines.append(f"\n{'posterior of nu (NUTS)':30}" + "".join(f"{name:>9}" for name in COLUMNS))
        for kind, one in found.posterior.items():
            lines.append(
                f"{kind:30.30}{one.mean:9.4f}{one.sd:9.4f}{one.low:9.4f}{one.high:9.4f}{one.steps:9.3g}"
                f"{one.r_hat:9.3f}{one.ess:9.0f}"
            )
        if any(one.r_hat > CONVERGED for one in found.posterior.values()):
            lines.append(f"r_hat above {CONVERGED}: these draws have not converged, take more of them")
        if found.end:
            lines.append("the evidence has no maximum: what there is of one is the prior's, Beta(1, 1)")
    return "\n".join(lines)
