"""How a training went, from its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from probact.reports.objective_unit import with_unit
from probact.reports.posterior_file import finite, has_posterior
from probact.reports.style import EXACT, LEARNED, LOSS, headed, ink, panels, whole

DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (1, 3)))
"""Of the chains: what a line is of shows in its colour."""
Records = Mapping[str, Sequence[Mapping[str, Any]]]
"""Metrics of each chain: label -> one mapping a meta-step (the fields of ``runs.record.Record``)."""


def learning_curve(records: Records, tree: xr.DataTree) -> Figure:
    """Objective and mean halting step over training, the step whose weights were kept, and what bounds them below."""
    halts = any(record["mean_halting"] is not None for chain in records.values() for record in chain)
    figure, (axes,) = panels(1, 2 if halts else 1, 3.6, top=0.75, between=0.2)
    drawn = [
        _draw_objective(axes[0], label, chain, DASHES[index % len(DASHES)])
        for index, (label, chain) in enumerate(records.items())
    ]
    kept = [best for best in drawn if best is not None]
    best = float(np.mean([value for _, value in kept])) if kept else np.nan
    room = room_below(tree) if kept else {}
    for dashes, (label, nats) in zip(("--", ":"), room.items(), strict=False):
        axes[0].axhline(best - nats, color=ink(), lw=1, ls=dashes, label=f"{label}: {nats:.2g} below")
    losses = np.array([record["loss"] for chain in records.values() for record in chain], dtype=float)
    _limit(axes[0], losses, [value for _, value in kept] + [best - nats for nats in room.values()])
    axes[0].set(xlabel="number of meta-steps", ylabel=with_unit(tree))
    if halts:
        _draw_halting(axes[1], records, tree)
    for panel in axes:
        whole(panel.xaxis)
    named = {label: line for line, label in zip(*axes[0].get_legend_handles_labels(), strict=True)}
    axes[0].legend([*named.values()], [*named], loc="upper right", ncols=2)
    below = "; dashed and dotted: as far below as on the held-out problems" if room else ""
    return headed(figure, _finding(kept, room), f"thin: training batches{below}")


def _draw_objective(axes: Any, label: str, chain: Sequence[Mapping[str, Any]], dashes: Any) -> tuple[int, float] | None:
    """The curves of a chain; where it validated best, if it did."""
    losses = [record["loss"] for record in chain]
    axes.plot([record["step"] for record in chain], losses, color=LOSS, lw=0.6, alpha=0.4)
    validated = [(record["step"], record["validation"]) for record in chain if record["validation"] is not None]
    axes.plot(*np.reshape(validated, (-1, 2)).T, color=LOSS, ls=dashes, marker=".", label=f"validation, {label}")
    best = min(validated, key=lambda pair: pair[1], default=None)
    if best is not None:
        axes.plot(*best, "o", color=ink(), ms=9, mfc="none", mew=1.6, label="kept")
    return best


def _draw_halting(axes: Any, records: Records, tree: xr.DataTree) -> None:
    for index, (label, chain) in enumerate(records.items()):
        halting = [record["mean_halting"] for record in chain]
        axes.plot(
            [record["step"] for record in chain],
            halting,
            color=LEARNED,
            ls=DASHES[index % len(DASHES)],
            lw=1,
            label=f"learned, {label}",
        )
    data = finite(tree)
    exact = float((data.tempered_pmf * data.step).sum("step").mean()) if data.optimizee.size else np.nan
    axes.axhline(exact, color=EXACT, lw=1.2, label=f"exact posterior at the end: {exact:.3g}")
    axes.set(xlabel="number of meta-steps", ylabel="mean halting step E[t] (steps)")
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.4 * (high - low), high)  # room for the legend
    whole(axes.yaxis)
    axes.legend(loc="lower right")


def room_below(tree: xr.DataTree) -> dict[str, float]:
    """Of an objective that is a bound, how far below it evidence and optimum are on the held-out problems, in nats."""
    if tree.attrs.get("objective") != "elbo" or tree.attrs["kl_scale"] != 1 or not has_posterior(tree):
        return {}
    data = finite(tree)
    if data.optimizee.size == 0:
        return {}
    found = {"-log p(x)": data.log_evidence - data.elbo, "optimum": -data.elbo - data.optimum}
    return {label: float(nats.mean()) for label, nats in found.items() if np.isfinite(nats.mean())}


def _limit(axes: Any, losses: Any, also: Sequence[float]) -> None:
    """Leave out the first meta-steps, which would make the rest a flat line."""
    losses = losses[np.isfinite(losses)]
    if len(losses) > 20:
        low, high = min(np.quantile(losses, 0.02), *also), max(np.quantile(losses, 0.9), *also)
        axes.set_ylim(low - 0.05 * (high - low), high + 0.6 * (high - low) + 1e-9)


def _finding(kept: Sequence[tuple[int, float]], room: Mapping[str, float]) -> str:
    if not kept:
        return "The training was never validated"
    steps = list(dict.fromkeys(str(step) for step, _ in kept))
    found = f"The weights of meta-step{'s' if len(steps) > 1 else ''} {', '.join(steps)} are kept"
    return f"{found}; their bound is {room['-log p(x)']:.2g} nats from the evidence" if room else found
