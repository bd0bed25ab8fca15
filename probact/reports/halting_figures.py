"""Figures, from a ``DataTree`` and the metrics alone: nothing here knows how they were computed."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from probact.reports import arviz_seam, halting_statistics, posterior_file
from probact.support.files import write_atomically

PRIOR, POSTERIOR, EXACT = "0.55", "C0", "C1"
STYLE: dict[Any, Any] = {
    "figure.dpi": 120,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
Records = Mapping[str, Sequence[Mapping[str, Any]]]
"""Metrics of each chain: label -> one mapping a meta-step (the fields of ``training.Record``)."""


def _title(tree: xr.DataTree) -> str:
    attrs = tree.attrs
    return f"{attrs['family']}, rule {attrs['rule']}, halting {attrs['halting']}, $\\nu$ = {attrs['prior_nu']:g}"


def _guide(tree: xr.DataTree) -> str:
    return "learned q" if posterior_file.has_posterior(tree) else "exact posterior"


def _exact(tree: xr.DataTree, what: str = "exact posterior") -> str:
    """Its label, with the KL scale that q was trained at where that is not 1."""
    kappa = posterior_file.kl_scale(tree)
    return what if kappa == 1 else f"{what} at KL scale {kappa:g}"


def prior_and_posterior(tree: xr.DataTree) -> Figure:
    """p, q and the exact posterior of the halting step t (left) and of the horizon T (right), problems averaged."""
    data = posterior_file.tables(tree).mean(("chain", "optimizee"))
    figure = Figure(figsize=(10, 3.6))
    panels = figure.subplots(1, 2)
    of_t = ("prior_pmf", "halt_pmf", "tempered_pmf", "exact_pmf")
    of_T = ("horizon_prior", "horizon_pmf", "tempered_horizon_pmf", "exact_horizon_pmf")
    rows = (("step", "halting step t (steps)", "t", of_t), ("horizon", "horizon T (steps)", "T", of_T))
    for axes, (dim, label, letter, names) in zip(panels, rows, strict=True):
        prior, guide, exact, at_1 = (data[name] for name in names)
        axes.bar(data[dim], prior, width=1.0, color=PRIOR, alpha=0.45, label=f"prior p({letter})")
        if posterior_file.has_posterior(tree):
            axes.step(data[dim], guide, where="mid", color=POSTERIOR, lw=2, label=f"learned q({letter}|x)")
        axes.step(data[dim], exact, where="mid", color=EXACT, lw=1.3, label=_exact(tree, f"exact p({letter}|x)"))
        if posterior_file.kl_scale(tree) != 1:
            axes.step(data[dim], at_1, where="mid", color=EXACT, lw=0.8, ls=":", label="at KL scale 1")
        highest = max(float(table.max()) for table in (prior, guide, exact, at_1))
        axes.set(xlabel=label, ylabel="probability", xlim=(0.5, data[dim].size + 0.5), ylim=(0, 1.3 * highest))
        axes.legend(loc="upper center", ncols=2, fontsize="small")
    figure.suptitle(f"Prior and posterior, mean over problems: {_title(tree)}")
    return figure


def halting_heat_map(tree: xr.DataTree) -> Figure:
    """q(t|x), one row a problem, rows sorted by the mode of the exact posterior, which is drawn over them."""
    data = posterior_file.tables(tree).isel(chain=0)
    mode = halting_statistics.map_step(tree).isel(chain=0)
    order = np.argsort(mode.values, kind="stable")
    figure = Figure(figsize=(7.5, 5))
    axes = figure.subplots()
    pmf = data.halt_pmf.values[order]
    limits = (0.5, pmf.shape[1] + 0.5, len(order) - 0.5, -0.5)
    image = axes.imshow(
        pmf, aspect="auto", extent=limits, cmap="viridis", vmax=np.quantile(pmf, 0.999), interpolation="nearest"
    )
    axes.plot(mode.values[order], np.arange(len(order)), ".", color="white", ms=3, label=f"mode of the {_exact(tree)}")
    axes.set(xlabel="halting step t (steps)", ylabel="problem (sorted by exact mode)")
    axes.legend(loc="upper right", labelcolor="white")
    figure.colorbar(image, label=f"probability of halting, {_guide(tree)}")
    axes.set_title(_title(tree))
    return figure


def loss_and_halting(tree: xr.DataTree) -> Figure:
    """Loss paths with the probability of halting over them: the mean problem, an early and a late one."""
    data = posterior_file.tables(tree).isel(chain=0)
    finite = np.flatnonzero(np.isfinite(data.loss_path).all("step"))
    mean_step = (data.halt_pmf * data.step).sum("step").values[finite]
    early, late = finite[[mean_step.argmin(), mean_step.argmax()]]
    figure = Figure(figsize=(11, 3.6))
    panels = figure.subplots(1, 3)
    chosen: list[tuple[str, Any]] = [
        ("mean over problems", data.isel(optimizee=finite).mean("optimizee")),
        (f"problem {early}: halts early", data.isel(optimizee=early)),
        (f"problem {late}: halts late", data.isel(optimizee=late)),
    ]
    steps = np.arange(data.step.size + 1)
    for position, (axes, (label, row)) in enumerate(zip(panels, chosen, strict=True)):
        path = np.concatenate([[float(row.initial_loss)], row.loss_path.values])
        low = min(path.min(), float(row.optimum)) if np.isfinite(float(row.optimum)) else path.min()
        axes.plot(steps, path - low + 1e-3 * max(path[0] - low, 1e-9), color="black", lw=1.5)
        axes.set_yscale("log")
        axes.set(title=label, xlabel="step")
        if position == 0:
            known = np.isfinite(float(row.optimum))
            axes.set_ylabel(f"loss above {'the optimum' if known else 'its smallest'} (nats)")
        pmf = axes.twinx()
        pmf.fill_between(row.step, row.halt_pmf, step="mid", color=POSTERIOR, alpha=0.35)
        pmf.step(row.step, row.tempered_pmf, where="mid", color=EXACT, lw=1)
        pmf.set_ylim(0, None)
        pmf.spines["right"].set_visible(True)
        if position == 2:
            pmf.set_ylabel("probability of halting")
    handles = [
        Line2D([], [], color="black", label="loss (left axis)"),
        Patch(color=POSTERIOR, alpha=0.35, label=_guide(tree)),
        Line2D([], [], color=EXACT, label=_exact(tree)),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    figure.suptitle(_title(tree))
    return figure


def halting_steps(tree: xr.DataTree) -> Figure:
    """How many problems halt at each step, in bins of one step."""
    halting, modes = (
        halting_statistics.halting_step(tree).values.ravel(),
        halting_statistics.map_step(tree).values.ravel(),
    )
    figure = Figure(figsize=(7, 3.8))
    axes = figure.subplots()
    bins = [step + 0.5 for step in range(int(tree.attrs["horizon"]) + 1)]
    if posterior_file.has_posterior(tree):
        label = "halting step: the own stop"
        axes.hist(halting, bins=bins, color=POSTERIOR, alpha=0.7, label=label)
    axes.hist(modes, bins=bins, color=EXACT, histtype="step", lw=1.3, label=f"mode of the {_exact(tree)}")
    mean = 1 / (1 - float(tree.attrs["prior_nu"]))
    label = f"prior E[t] = 1/(1 - $\\nu$) = {mean:.3g}"
    if mean <= bins[-1]:
        axes.axvline(mean, color=PRIOR, ls="--", label=label)
    else:
        axes.plot([], [], " ", label=f"{label}, beyond H")
    many = tree["posterior"].sizes["chain"] > 1
    axes.set(xlabel="halting step (steps)", ylabel=f"number of problems{' (all chains)' if many else ''}")
    last = max(halting.max(), modes.max(), mean)
    axes.set_xlim(0, min(bins[-1], 1.1 * last + 3))
    axes.legend(frameon=True, edgecolor="none")  # the line may pass behind it
    spread = f"range [{halting.min()}, {halting.max()}], mean {halting.mean():.1f}, sd {halting.std():.1f}"
    axes.set_title(f"{_title(tree)}\n{spread}, median {np.median(halting):.0f}")
    return figure


def learning_curve(records: Records) -> Figure:
    """Objective, mean halting step and norm of the meta-gradient over training."""
    figure = Figure(figsize=(10, 3.4))
    panels = figure.subplots(1, 3)
    for index, (label, chain) in enumerate(records.items()):
        color = f"C{index}"
        steps = [record["step"] for record in chain]
        validated = [record for record in chain if record["validation"] is not None]
        suffix = f", {label}" if len(records) > 1 else ""
        panels[0].plot(
            steps,
            [record["loss"] for record in chain],
            color=color,
            lw=0.7,
            alpha=0.5,
            label=None if index else "training",
        )
        panels[0].plot(
            [record["step"] for record in validated],
            [record["validation"] for record in validated],
            color=color,
            marker=".",
            label=f"validation{suffix}",
        )
        if chain and chain[0]["mean_halting"] is not None:
            panels[1].plot(steps, [record["mean_halting"] for record in chain], color=color, label=label)
        panels[2].plot(steps, [record["grad_norm"] for record in chain], color=color, lw=0.8)
    losses = np.concatenate([[record["loss"] for record in chain] for chain in records.values()] or [[1.0]])
    losses = losses[np.isfinite(losses)]
    if len(losses) and losses.min() > 0:
        panels[0].set_yscale("log")
    if len(losses) > 50:  # the first meta-steps would leave the rest a flat line
        panels[0].set_ylim(top=1.05 * np.quantile(losses, 0.97))
    panels[2].set_yscale("log")
    labels = ("objective (nats; log-loss: log nats)", "mean halting step E[t] (steps)", "norm of the meta-gradient")
    for axes, ylabel in zip(panels, labels, strict=True):
        axes.set(xlabel="meta-step", ylabel=ylabel)
    panels[0].legend(loc="upper right", fontsize="small")
    if not panels[1].has_data():
        panels[1].text(0.5, 0.5, "no halting posterior", ha="center", transform=panels[1].transAxes)
    figure.suptitle("Meta-training")
    return figure


def prior_figure(nu: float, log_horizon: np.ndarray[Any, Any], log_marginal: np.ndarray[Any, Any]) -> Figure:
    """p_H(T) and p_H(t) of one nu."""
    figure = Figure(figsize=(7, 3.6))
    axes = figure.subplots()
    steps = np.arange(1, len(log_horizon) + 1)
    axes.bar(steps, np.exp(log_marginal), width=1.0, color=POSTERIOR, alpha=0.5, label="halting step, p(t)")
    axes.step(steps, np.exp(log_horizon), where="mid", color=EXACT, label="horizon, p(T)")
    axes.set(xlabel="steps", ylabel="probability", xlim=(0.5, len(steps) + 0.5), ylim=(0, None))
    axes.set_title(f"Prior with $\\nu$ = {nu:g}, truncated to H = {len(steps)}")
    axes.legend()
    return figure


FIGURES: dict[str, Callable[[xr.DataTree], Figure]] = {
    "prior_and_posterior": prior_and_posterior,
    "halting_heat_map": halting_heat_map,
    "loss_and_halting": loss_and_halting,
    "halting_steps": halting_steps,
    "arviz_forest": arviz_seam.forest,
    "arviz_rank": arviz_seam.rank,
}


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a PNG, atomically."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_atomically(path, buffer.getvalue())
    return path


def draw_all(tree: xr.DataTree, records: Records, folder: Path) -> list[Path]:
    """Every figure as PNG in ``folder``; without loss paths where all problems diverged."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with rc_context(STYLE):
        chosen = dict(FIGURES)
        if not bool(np.isfinite(posterior_file.tables(tree).isel(chain=0).loss_path).all("step").any()):
            del chosen["loss_and_halting"]
        for name, draw in chosen.items():
            paths.append(save_figure(draw(tree), folder / f"{name}.png"))
        paths.append(save_figure(learning_curve(records), folder / "learning_curve.png"))
    return paths
