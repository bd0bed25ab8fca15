"""ArviZ's own plots of a posterior file, in 0.23 and in 1.x: trace, ranks, posterior, and predictions beside x.

Titles say what was measured on the draws that are shown.  ``az.loo`` has no plot here: draws of t tie, and the
evidence is known exactly (``arviz_seam.stacking_weights`` compares by it).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from probact.reports.arviz_seam import INTERVAL, LEGACY, chosen, convergence, library as az
from probact.reports.posterior_file import has_posterior
from probact.reports.style import LEARNED, headed, save_figure, styled
from probact.support.words import counted

NUM = 3
"""Problems in each plot: an easy one, one in the middle, a hard one."""
STEPS, TITLE_ROOM = "halting step t (steps)", 0.8
"""Of an axis; inches above all axes."""


def easy_to_hard(tree: xr.DataTree) -> xr.Dataset:
    """Draws of t of ``NUM`` problems, from easy to hard, named by their difficulty."""
    data = chosen(tree)
    return data.isel(optimizee=np.unique(np.linspace(0, data.optimizee.size - 1, NUM).round().astype(int)))


def trace(tree: xr.DataTree) -> Figure:
    """t by draw, a row a problem, with its distribution beside it, a line a chain."""
    data = easy_to_hard(tree)
    if LEGACY:
        figure = _of(az.plot_trace, data, compact=False, legend=False, figsize=(10, 6))
        for left, right in np.reshape(np.array(figure.axes, dtype=object), (-1, 2)):
            left.set(xlabel=STEPS, ylabel="probability")
            right.set(xlabel="number of the draw", ylabel="t (steps)")
    else:
        figure = _of(az.plot_trace_dist, data, compact=False, backend="matplotlib", figure_kwargs={"figsize": (10, 6)})
        for place, axes in enumerate(figure.axes):
            axes.set_title(
                str(data.optimizee.values[place // 2]) if len(figure.axes) == 2 * data.optimizee.size else ""
            )
            is_trace = axes.get_xlabel().lower().startswith("step") or axes.get_xlim()[1] > 1.5 * float(data.t.max())
            axes.set(xlabel="number of the draw" if is_trace else STEPS, ylabel="t (steps)" if is_trace else "density")
    return _titled(figure, _agreement(data))


def rank(tree: xr.DataTree) -> Figure:
    """Ranks of each chain's draws among those of all: flat where the seeds agree."""
    data = easy_to_hard(tree)
    if LEGACY:
        figure = _of(az.plot_rank, data, figsize=(10, 3.6))
        for axes in figure.axes:
            axes.set(xlabel="rank among all draws", ylabel="chain (number)")
    else:
        figure = _of(az.plot_rank, data, backend="matplotlib", figure_kwargs={"figsize": (10, 3.6)})
        for axes in figure.axes:
            axes.set(xlabel="rank among all draws (share)", ylabel="share of draws, less a uniform's")
    return _titled(figure, _agreement(data))


def posterior(tree: xr.DataTree) -> Figure:
    """q(t|x) of each problem, or the exact p(t|x) where there is no q, with mean and interval."""
    data = easy_to_hard(tree)
    if LEGACY:
        options: dict[str, Any] = {"kind": "hist", "bins": _bins(data.t), "hdi_prob": INTERVAL, "color": LEARNED}
        figure = _of(az.plot_posterior, data, figsize=(10, 3.6), textsize=10, **options)
    else:
        with az.rc_context({"stats.ci_prob": INTERVAL, "stats.ci_kind": "hdi"}):
            options = {"kind": "hist", "backend": "matplotlib", "figure_kwargs": {"figsize": (10, 3.6)}}
            figure = _of(az.plot_dist, data, visuals={"dist": {"color": LEARNED}}, **options)
    for axes in figure.axes:
        axes.set(xlabel=STEPS, ylabel="density")
    means = ", ".join(f"{mean:.3g}" for mean in data.t.mean(("chain", "draw")).values)
    return _titled(figure, f"From easy to hard, {_whose(tree)} halts after {means} steps on average")


def predictive(tree: xr.DataTree) -> Figure:
    """Observations x beside those drawn from p(x|theta_t) at the t that were drawn, of all problems together."""
    drawn, seen = tree["posterior_predictive"].to_dataset()[["x"]], tree["observed_data"].to_dataset()[["x"]]
    kept = np.isfinite(drawn.x).all([dim for dim in drawn.x.dims if dim != "optimizee"]) & np.isfinite(seen.x).all(
        "observation"
    )
    picked = np.flatnonzero(kept)[:64]
    groups = {
        name: data.isel(optimizee=picked).drop_vars(["difficulty", "size"], errors="ignore")
        for name, data in (("posterior_predictive", drawn), ("observed_data", seen))
    }
    if LEGACY:
        options = {"num_pp_samples": 30, "random_seed": 0, "figsize": (10, 4.2), "textsize": 10}
        figure = _of(az.plot_ppc, az.InferenceData(**groups), **options)
    else:
        options = {"num_samples": 30, "backend": "matplotlib", "figure_kwargs": {"figsize": (10, 4.2)}}
        figure = _of(az.plot_ppc_dist, xr.DataTree.from_dict(groups), **options)
    for axes in figure.axes:
        axes.set(xlabel="observation x (units of the data)", ylabel="density")
        axes.set_title("")
    together = f"{counted(len(picked), 'problem')} together"
    return _titled(figure, f"x as observed and as drawn where {_whose(tree)} halts, {together}")


PLOTS: dict[str, Callable[[xr.DataTree], Figure]] = {
    "arviz_trace": trace, "arviz_rank": rank, "arviz_posterior": posterior, "arviz_predictive": predictive,
}  # fmt: skip


def drawable(tree: xr.DataTree) -> list[str]:
    """Those of ``PLOTS`` that ``tree`` has draws for: ranks need several chains, predictions a table of x."""
    several = tree["posterior"].sizes["chain"] > 1
    without = {"arviz_rank": not several, "arviz_predictive": "posterior_predictive" not in tree.children}
    return [name for name in PLOTS if not without.get(name)]


def draw_plots(tree: xr.DataTree, folder: Path, *, style: str = "light", kind: str = "png") -> list[Path]:
    """Every plot that there are draws for; returns the files in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with styled(style):
        return [save_figure(PLOTS[name](tree), folder / f"{name}.{kind}") for name in drawable(tree)]


def _whose(tree: xr.DataTree) -> str:
    """The distribution that t was drawn from."""
    return "q(t|x)" if has_posterior(tree) else "the exact p(t|x)"


def _bins(values: xr.DataArray) -> np.ndarray[Any, Any]:
    """Edges of bins one step wide."""
    return np.arange(int(values.min()), int(values.max()) + 2) - 0.5


def _of(plot: Callable[..., Any], data: Any, **options: Any) -> Figure:
    """What ``plot`` draws."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ArviZ 0.23, by newer versions of what it stands on
        drawn = plot(data, **options)
    figure: Figure = np.ravel(drawn)[0].figure if LEGACY else drawn.viz["figure"].item()
    plt.close(figure)
    return figure


def _agreement(data: xr.Dataset) -> str:
    """What the chains' draws of t say of each other."""
    if data.sizes["chain"] == 1:
        return f"{data.sizes['draw']} independent draws of t for each problem"
    worst = max(convergence(data.t.isel(optimizee=place).values)[0] for place in range(data.sizes["optimizee"]))
    return f"Between the {data.sizes['chain']} seeds R-hat of t is {worst:.2f} at most: 1 where they halt alike"


def _titled(figure: Figure, finding: str) -> Figure:
    """Below our title; ArviZ lays out its axes itself, and they stay where they are from then on."""
    for axes in figure.axes:
        axes.xaxis.label.set_fontsize("medium")
        axes.yaxis.label.set_fontsize("medium")
        for side in ("left", "center"):
            axes.set_title(axes.get_title(side), loc=side, fontsize="medium")
    height = figure.get_size_inches()[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a layout engine that has nothing to do
        figure.set_layout_engine("none")
        figure.tight_layout(rect=(0, 0, 1, 1 - TITLE_ROOM / height))
    return headed(figure, finding, f"drawn by ArviZ, {az.__version__}")
