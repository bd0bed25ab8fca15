"""The prior alone, drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from probact.reports.style import PRIOR, headed, ink, panels, whole

Array = np.ndarray[Any, Any]


def prior_figure(nu: float, log_horizon: Array, log_marginal: Array, label: str) -> Figure:
    """p_H(T) and p_H(t) of one nu, and below the price of each step, -log p_H(t+1) / p_H(t), beside -log nu."""
    figure, axes = panels(2, 1, 5.4, width=8.0, top=0.75, sharex=True, height_ratios=(2, 1))
    (above,), (below,) = axes
    steps, price = np.arange(1, len(log_horizon) + 1), -np.diff(log_marginal)
    above.bar(steps, np.exp(log_marginal), width=1.0, color=PRIOR, alpha=0.6, label="halting step, p(t)")
    above.step(steps, np.exp(log_horizon), where="mid", color=ink(), label="horizon, p(T)")
    above.set(ylabel="probability", xlim=(0.5, len(steps) + 0.5), ylim=(0, None))
    below.step(steps[:-1] + 0.5, price, where="mid", color=PRIOR, label="price of the next step")
    below.axhline(-np.log(nu), color=ink(), lw=1, ls="--", label="-log nu")
    below.set(xlabel="t and T (steps)", ylabel="price (nats)")
    below.set_ylim(1.1 * min([0, *price]), 1.1 * max([-np.log(nu), *price]))
    whole(below.xaxis)
    for panel in (above, below):
        panel.legend()
    mean = float(steps @ np.exp(log_marginal))
    finding = f"With nu = {nu:g} the prior halts after {mean:.3g} steps on average"
    return headed(figure, finding, f"{label}, capped at H = {len(steps)}")
