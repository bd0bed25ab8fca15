"""The one place that calls ArviZ, so that 0.23 and 1.x draw the same figures.

Plain ``xr.Dataset``s go in, and every interval's probability is given: defaults differ between versions.
"""

from __future__ import annotations

import warnings
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

with warnings.catch_warnings():
    # 0.23 announces its successor on import, once a day.
    warnings.simplefilter("ignore", FutureWarning)
    import arviz as az

INTERVAL = 0.9
LEGACY = az.__version__.startswith("0.")
SHOWN = 12
"""Problems in a forest plot."""


def _chosen(tree: xr.DataTree) -> xr.Dataset:
    """Draws of ``SHOWN`` problems, spread over the range of their mean halting step."""
    draws = tree["posterior"].to_dataset()
    order = np.argsort(draws.t.mean(("chain", "draw")).values, kind="stable")
    picked = order[np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int)]
    return draws.isel(optimizee=picked)


def _figure(drawn: Any, title: str) -> Figure:
    """The figure of what an ArviZ plot returned, detached from pyplot."""
    figure: Figure = np.ravel(drawn)[0].figure if LEGACY else drawn.viz["figure"].item()
    figure.suptitle(title)
    plt.close(figure)
    return figure


def forest(tree: xr.DataTree) -> Figure:
    """Draws of t, one line a chain and problem: the 90 % interval, quartiles and median, in steps."""
    data = _chosen(tree)[["t"]]
    title = f"Halting step t (steps): draws of {data.optimizee.size} problems, {INTERVAL:.0%} intervals"
    if LEGACY:
        return _figure(az.plot_forest(data, hdi_prob=INTERVAL, combined=True, figsize=(7, 5)), title)
    return _figure(
        az.plot_forest(data, ci_probs=(0.5, INTERVAL), combined=True, backend="matplotlib"), title
    )


def rank(tree: xr.DataTree) -> Figure:
    """Ranks of the mean-over-problems draws of t and T within all chains: flat where chains agree."""
    draws = tree["posterior"].to_dataset().mean("optimizee")
    title = "Ranks over chains of t and T, averaged over problems"
    if LEGACY:
        return _figure(az.plot_rank(draws, kind="bars", figsize=(9, 4)), title)
    return _figure(az.plot_rank(draws, ci_prob=INTERVAL, backend="matplotlib"), title)

