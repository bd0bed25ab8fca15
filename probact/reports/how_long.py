"""How long these problems want to be optimized: the evidence of nu, the best nu, its posterior, and a word on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import torch
from torch import Tensor

from probact.inference.continuation import OfNu, best_nu, log_evidence_at, sample_nu, sample_nu_of_kinds
from probact.support.results import Result

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
    *,
    draws: int = 0,
    seed: int = 0,
) -> HowLong:
    """From the losses of finite problems after 1..H steps, kind -> ``(H, L)``.

    :param of_nu: the prior at any nu.
    :param draws: of NUTS, in each of two chains, of the posterior of nu under Beta(1, 1), or of each kind's nu if there
        are several; 0: none.
    """
    tables = {kind: -path.double() / kl_scale for kind, path in losses.items()}
    together = torch.cat([*tables.values()], 1)
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
    steps = [] if found.end else [_mean_step(value, of_nu) for value in (found.nu, low, high)]
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
        said=_said(found.nu, steps, found.end, horizon, _mean_step(1 - 1e-6, of_nu)),
        posterior=_posterior(tables, of_nu, draws, seed) if draws else {},
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


def _posterior(tables: Mapping[str, Tensor], of_nu: OfNu, draws: int, seed: int) -> dict[str, NuPosterior]:
    from probact.reports import arviz_seam

    if len(tables) == 1:
        (kind,) = tables
        found = {kind: sample_nu(tables[kind], of_nu, num_draws=draws, seed=seed)}
    else:
        nu = sample_nu_of_kinds(tables, of_nu, num_draws=draws, seed=seed)["nu"]
        found = {kind: nu[..., k] for k, kind in enumerate(tables)}
    summaries = {}
    for kind, values in found.items():
        r_hat, ess = arviz_seam.convergence(values.numpy())
        low, high = torch.quantile(values, torch.tensor([0.05, 0.95], dtype=values.dtype)).tolist()
        summaries[kind] = NuPosterior(
            mean=float(values.mean()),
            sd=float(values.std()),
            low=low,
            high=high,
            steps=float(of_nu(values.double().clamp(1e-9, 1 - 1e-9)).marginal().mean.mean()),
            r_hat=r_hat,
            ess=ess,
        )
    return summaries


def table(found: HowLong) -> str:
    """The answer, some of the curve, and the posteriors."""
    at_scale = "" if found.kl_scale == 1 else f" at KL scale {found.kl_scale:g}"
    lines = [f"which nu? evidence of {found.num_optimizees} problems{at_scale} (nats, mean over problems)"]
    lines.append(f"{'nu':>10}{'1/(1 - nu)':>14}{'log p(x|nu)':>14}")
    best = max(range(len(found.nu)), key=found.evidence.__getitem__)
    shown = sorted({*range(0, len(found.nu), 12), best})
    for k in shown:
        mark = "  best" if k == best else ""
        lines.append(f"{found.nu[k]:10.4f}{1 / (1 - found.nu[k]):14.4g}{found.evidence[k]:14.3f}{mark}")
    lines += [
        "",
        found.said,
        f"Over the nu of training, {found.trained_nu:g}, the best one gains {found.gain:.3g} nats.",
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
