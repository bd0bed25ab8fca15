"""What the own stop of a run is worth, from its ``DataTree`` alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from probact.reports.posterior_file import finite, price
from probact.reports.style import BUDGET, OWN, PATIENCE, from_none_to_much, headed, ink, log_scale, panels
from probact.reports.verdict import Stopping, how_it_depends, worth
from probact.support.words import counted


def stop_and_regret(tree: xr.DataTree) -> Figure:
    """The own stop against the best step in hindsight, by regret; and the regret of it, of budget and of patience."""
    data, cost = finite(tree), price(tree)
    steps = {name: data[f"stop_{name}"] for name in ("own", "budget", "patience", "oracle")}
    J = {name: (data.loss_path.sel(step=stop) + cost * stop).values for name, stop in steps.items()}
    regret = {name: np.maximum(J[name] - J["oracle"], 0.0).ravel() for name in ("own", "budget", "patience")}
    figure, (axes,) = panels(1, 2, 4.4, left=0.7, between=0.42)
    _draw_stops(axes[0], steps["oracle"].values.ravel(), steps["own"].values.ravel(), regret["own"], data.step.size)
    _draw_regrets(axes[1], regret, cost)
    found = worth(data, cost, tree.attrs["stop_rules"])
    chains = data.sizes["chain"]
    problems = counted(data.optimizee.size, "held-out problem", form=",")
    below = f"stop rule {found.rule}; a step costs {cost:.3g} nats; {problems}"
    return headed(figure, _finding(found), below + (f", {chains} seeds" if chains > 1 else ""))


def _finding(found: Stopping) -> str:
    best = found.J_oracle
    known = "" if np.isnan(found.rank_correlation) else f" (rank correlation {found.rank_correlation:.2f})"
    return (
        f"{how_it_depends(found)}{known}; regret {found.J - best:.2g} nats, budget {found.J_budget - best:.2g}, "
        f"patience {found.J_patience - best:.2g}"
    )


def _draw_stops(axes: Any, best: Any, stop: Any, regret: Any, horizon: int) -> None:
    """A point for each pair of steps, as large as problems share it."""
    pairs, where, counts = np.unique(np.stack([best, stop], 1), axis=0, return_inverse=True, return_counts=True)
    mean = np.bincount(where.ravel(), regret) / counts
    limits = (max(0.8, min(0.8 * pairs.min(), horizon / 12)), 1.25 * horizon)
    axes.plot(limits, limits, color=ink(), lw=1, ls=":", zorder=0)
    area = 10 + 500 * counts / len(best)
    most = max(float(np.quantile(regret, 0.95)), 1e-3)
    points = axes.scatter(*pairs.T, s=area, c=mean, cmap=from_none_to_much(), vmin=0, vmax=most, lw=0)
    axes.set(xlim=limits, ylim=limits, xlabel="best step in hindsight (steps)", ylabel="own stop (steps)")
    log_scale(axes, "xy")
    axes.set_title("stops: on the line, none is lost")
    axes.figure.colorbar(points, ax=axes, label="regret (nats)", pad=0.02)


def _draw_regrets(axes: Any, regret: dict[str, Any], cost: float) -> None:
    """Share of the problems within so much of the best step: the further up and left, the better."""
    lines = {"own": ("own stop", OWN), "budget": ("best budget", BUDGET), "patience": ("best patience", PATIENCE)}
    first = 0.1 * cost
    last = max(float(np.quantile(np.concatenate([*regret.values()]), 0.99)), 20 * first)
    for name, (label, color) in lines.items():
        values = np.sort(np.maximum(regret[name], first))
        share = np.arange(1, len(values) + 1) / len(values)
        mean = f"{label}: {regret[name].mean():.2g} on average"
        axes.step(np.append(values, max(last, values[-1])), np.append(share, 1), where="post", color=color, lw=1.8,
                  label=mean, zorder=3 if name == "own" else 2)  # fmt: skip
    axes.plot((cost, cost), (0, 1), color=ink(), lw=1, ls=":")
    axes.annotate("a step's price", (cost, 1), xytext=(0, 2), textcoords="offset points", ha="center", fontsize="small")
    axes.set(xlim=(first, last), ylim=(0, 1.4), xlabel="regret (nats)", ylabel="share of problems within")
    log_scale(axes, "x")
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    axes.set_title("regret: loss + price above that of the best step")
    axes.legend(loc="upper left")
