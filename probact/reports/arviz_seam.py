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

from probact.reports.posterior_file import kl_scale, tables

with warnings.catch_warnings():
    # 0.23 announces its successor on import, once a day.
    warnings.simplefilter("ignore", FutureWarning)
    import arviz as az

INTERVAL = 0.9
LEGACY = az.__version__.startswith("0.")
RANKED = 4000
"""Draws of a chain in a rank plot."""
SHOWN = 12
"""Problems in a forest plot."""


def _chosen(tree: xr.DataTree) -> xr.Dataset:
    """Draws of ``SHOWN`` problems, spread over the range of their mean halting step."""
    draws = tree["posterior"].to_dataset()
    order = np.argsort(draws.t.mean(("chain", "draw")).values, kind="stable")
    picked = order[np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int)]
    return draws.isel(optimizee=picked)


def _figure(drawn: Any, title: str, xlabel: str) -> Figure:
    """The figure of what an ArviZ plot returned, labelled and detached from pyplot."""
    figure: Figure = np.ravel(drawn)[0].figure if LEGACY else drawn.viz["figure"].item()
    for axes in figure.axes:
        if axes.get_title().endswith("HDI"):  # the interval is in our title
            axes.set_title("")
    figure.axes[-1].set_xlabel(xlabel)
    figure.suptitle(title)
    plt.close(figure)
    return figure


def forest(tree: xr.DataTree) -> Figure:
    """Draws of t, one line a problem, chains together: the 90 % interval, quartiles and median, in steps."""
    data = _chosen(tree)[["t"]]
    title = f"Draws of t for {data.optimizee.size} problems, early ones first: "
    title += f"median, quartiles, {INTERVAL:.0%} interval"
    options: dict[str, Any] = (
        {"hdi_prob": INTERVAL, "figsize": (7, 5), "textsize": 10}
        if LEGACY
        else {"ci_probs": (0.5, INTERVAL), "point_estimate": "median", "labels": ["optimizee"], "backend": "matplotlib"}
    )
    return _figure(az.plot_forest(data, combined=True, **options), title, "halting step t (steps)")


def _exact_draws(pmf: np.ndarray[Any, Any], num_draws: int, random: np.random.Generator) -> np.ndarray[Any, Any]:
    """Draws 1..H from each row of ``pmf (L, H)``, shape (num_draws, L)."""
    cdf = pmf.cumsum(-1)
    uniform = random.random((num_draws, len(pmf), 1)) * cdf[:, -1:]
    return 1 + (uniform >= cdf).sum(-1)


def rank(tree: xr.DataTree) -> Figure:
    """Ranks of t drawn from q, a row for each trained seed, and last from the exact posterior.

    Flat where they agree.  Draws of all problems are pooled, and each integer is spread evenly over its unit bin, so
    that ties do not clump.
    """
    t = tree["posterior"].to_dataset().t
    random = np.random.default_rng(0)
    kept = random.permutation(t.draw.size * t.optimizee.size)[:RANKED]
    pmf = tables(tree).tempered_pmf.mean("chain").values
    rows = [*t.values, _exact_draws(pmf, t.draw.size, random)]
    pooled = np.stack([row.reshape(-1)[kept] for row in rows]) + random.uniform(-0.5, 0.5, (len(rows), len(kept)))
    coords = {dim: np.arange(size) for dim, size in zip(("chain", "draw"), pooled.shape, strict=True)}
    draws = xr.Dataset({"t": (("chain", "draw"), pooled)}, coords)  # without coordinates 1.x draws a chain a draw
    options: dict[str, Any] = (
        {"kind": "bars", "figsize": (8, 4)}
        if LEGACY
        else {"envelope_prob": INTERVAL, "visuals": {"title": False}, "backend": "matplotlib"}
    )
    scale = "" if kl_scale(tree) == 1 else f" at KL scale {kl_scale(tree):g}"
    title = f"Ranks of t: learned q (chain 0 to {len(rows) - 2}) and exact posterior{scale} (chain {len(rows) - 1})"
    return _figure(az.plot_rank(draws, **options), title, "rank (all chains)")
