"""The one place that calls ArviZ, so that 0.23 and 1.x draw the same figure.

A plain ``xr.Dataset`` goes in, and the interval's probability is given: defaults differ between versions.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from probact.reports.posterior_file import has_posterior, tables

with warnings.catch_warnings():
    # 0.23 announces its successor on import, once a day.
    warnings.simplefilter("ignore", FutureWarning)
    import arviz as az

library: Any = az  # its names differ between versions
INTERVAL = 0.9
LEGACY = az.__version__.startswith("0.")
SHOWN = 12
"""Problems in a forest plot."""


def chosen(tree: xr.DataTree) -> xr.Dataset:
    """Draws of t of ``SHOWN`` problems, from easy to hard, named by their difficulty."""
    difficulty = tables(tree).difficulty.values
    order = np.argsort(difficulty, kind="stable")
    picked = order[np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int)]
    draws = (
        tree["posterior"].to_dataset()[["t"]].isel(optimizee=picked).drop_vars(["difficulty", "size"], errors="ignore")
    )
    return draws.assign_coords(optimizee=[f"best step {difficulty[one]:.3g}, no. {one}" for one in picked])


def forest(tree: xr.DataTree) -> Figure:
    """Draws of t, one line a problem, chains together: the 90 % interval, quartiles and median, in steps."""
    data = chosen(tree)
    figure = _forest(data, "optimizee")
    figure.axes[-1].set_xlabel("halting step t (steps)")
    medians = data.t.median(("chain", "draw")).values
    span = f"from {medians[0]:g} to {medians[-1]:g}"
    what = "q(t|x)" if has_posterior(tree) else "the exact p(t|x)"
    figure.suptitle(f"From easy to hard, the median of {what} goes {span}")
    return figure


def forest_of_nu(tree: xr.DataTree) -> Figure:
    """Draws of nu as 1/(1 - nu), one line a kind of problems, from ``how_long.posterior_of_nu``."""
    steps = 1 / (1 - tree["posterior"].to_dataset()[["nu"]])
    figure = _forest(steps, "kind")
    figure.axes[-1].set_xlabel("1/(1 - nu) (steps)")
    medians = steps.nu.median(("chain", "draw"))
    figure.suptitle("Median posterior steps: " + ", ".join(f"{one.kind.item()} {one.item():.3g}" for one in medians))
    return figure


def _forest(data: xr.Dataset, dimension: str) -> Figure:
    """One line for each entry of ``dimension``."""
    options: dict[str, Any] = (
        {"hdi_prob": INTERVAL, "figsize": (8, 5), "textsize": 10}
        if LEGACY
        else {
            "ci_probs": (0.5, INTERVAL),
            "ci_kind": "hdi",
            "point_estimate": "median",
            "labels": [dimension],
            "backend": "matplotlib",
            "figure_kwargs": {"figsize": (8, 5)},
        }
    )
    drawn = az.plot_forest(data, combined=True, **options)
    figure: Figure = np.ravel(drawn)[0].figure if LEGACY else drawn.viz["figure"].item()
    for axes in figure.axes:
        for side in ("left", "center"):
            if axes.get_title(side).endswith("HDI"):  # the interval is in our title
                axes.set_title("", loc=side)
    if LEGACY:
        figure.subplots_adjust(left=0.24, right=0.97)
    plt.close(figure)
    return figure


def convergence(draws: np.ndarray[Any, Any]) -> tuple[float, float]:
    """R-hat and bulk effective sample size of ``draws (chain, draw)`` (Vehtari et al. 2021)."""
    data = xr.Dataset({"x": (("chain", "draw"), draws)})
    return float(az.rhat(data)["x"]), float(az.ess(data, method="bulk")["x"])


def convergence_of_problems(draws: xr.DataArray) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """``convergence`` of each problem, ``draws`` being (chain, draw, optimizee); where nothing varies R-hat is 1."""
    data = draws.to_dataset(name="x").transpose("chain", "draw", "optimizee")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # 0 / 0 where all draws are the same
        r_hat = az.rhat(data)["x"].values
        ess = az.ess(data, method="bulk")["x"].values
    return np.where(np.isnan(r_hat), 1.0, r_hat), ess


def stacking_weights(evidence: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, float]:
    """Of models in a mixture of their predictions (Yao et al. 2018), by ``az.compare``.

    :param evidence: name -> log p(x_l) of each problem l, ``(L,)`` with L > 1: exact, in the place of PSIS-LOO.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of 0.23 by pandas 3
        table = az.compare({name: _as_elpd(values) for name, values in evidence.items()}, method="stacking")
    return {str(name): float(weight) for name, weight in table["weight"].items()}


def _as_elpd(values: np.ndarray[Any, Any]) -> Any:
    pointwise = xr.DataArray(values, dims="optimizee")
    total, error = float(values.sum()), float((len(values) * values.var()) ** 0.5)
    if LEGACY:
        from arviz.stats.stats_utils import ELPDData

        numbers: list[Any] = [total, error, 0.0, 1, len(values), False, pointwise, "log"]
        names = ["elpd_loo", "se", "p_loo", "n_samples", "n_data_points", "warning", "loo_i", "scale"]
        return ELPDData(data=numbers, index=names)
    kind = getattr(az, "ELPDDataLOO", None) or partial(az.ELPDData, kind="loo")  # the latter before 1.3
    return kind(elpd=total, se=error, p=0.0, n_samples=1, n_data_points=len(values), scale="log", warning=False,
                good_k=0.7, elpd_i=pointwise)  # fmt: skip
