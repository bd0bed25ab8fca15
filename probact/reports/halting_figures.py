"""What a run believes about halting, drawn from its ``DataTree`` and its metrics alone; nothing here needs torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from probact.reports import arviz_seam
from probact.reports.posterior_file import finite, has_posterior, kl_scale, price
from probact.reports.stop_figures import stop_and_regret
from probact.reports.style import (
    EXACT,
    LEARNED,
    LOSS,
    OWN,
    PRIOR,
    from_paper_to_full,
    headed,
    ink,
    panels,
    paper,
    save_figure,
    styled,
    whole,
)
from probact.reports.training_figures import Records, learning_curve
from probact.support.statistics import rank_correlation
from probact.support.words import counted

Array = np.ndarray[Any, Any]
ROWS = 64
"""Of a heat map: more problems are averaged with their neighbours."""
SHOWN = (0.05, 0.35, 0.65, 0.95)
"""Problems that are shown one by one, by their rank from easy to hard."""
GROUPS, BINS = 8, 10


def about(tree: xr.DataTree) -> str:
    """The run, in a line below a title."""
    attrs, posterior = tree.attrs, tree["posterior"]
    chains, problems = posterior.sizes["chain"], posterior.sizes["optimizee"]
    return (
        f"{counted(problems, 'held-out problem', form=',')} of {attrs['family']}; "
        f"rule {attrs['rule']}, halting {attrs['halting']}, "
        f"nu {attrs['prior_nu']:g}{f'; {chains} seeds' if chains > 1 else ''}"
    )


def _exact(tree: xr.DataTree) -> str:
    """Its label, with the KL scale that q was trained at where that is not 1."""
    kappa = kl_scale(tree)
    return "exact p(t|x)" if kappa == 1 else f"exact p(t|x) at KL scale {kappa:g}"


def _first(tree: xr.DataTree) -> str:
    return f"{about(tree)}, the first one" if tree["posterior"].sizes["chain"] > 1 else about(tree)


def _from_easy_to_hard(data: xr.Dataset) -> xr.Dataset:
    """Of the first chain, sorted by its best step, problems of the same by the mean of their exact posterior."""
    data = data.isel(chain=0)
    order = np.lexsort((_mean_step(data.tempered_pmf), data.stop_oracle.values))
    return data.isel(optimizee=order)


def _mean_step(pmf: xr.DataArray) -> Array:
    return np.asarray((pmf * pmf.step).sum("step"))


def halting_heat_map(tree: xr.DataTree) -> Figure:
    """q(t|x) beside the exact posterior, one row a problem (or the mean of a few), from easy to hard."""
    data = _from_easy_to_hard(finite(tree))
    shown = {"halt_pmf": "learned q(t|x)", "tempered_pmf": _exact(tree)}
    if not has_posterior(tree):
        del shown["halt_pmf"]
    groups = np.array_split(np.arange(data.optimizee.size), min(ROWS, data.optimizee.size))
    tables = {name: np.stack([data[name].values[rows].mean(0) for rows in groups]) for name in shown}
    average = np.max([table.mean(0) for table in tables.values()], 0)
    last = max(int(np.flatnonzero(average > 0.02 * average.max())[-1]) + 1, 2)
    brightest = float(np.quantile(np.stack([*tables.values()])[..., :last], 0.995))
    height = np.array([(rows[0] + rows[-1]) / 2 + 0.5 for rows in groups])
    figure, axes = panels(1, len(shown), 4.6, sharey=True, left=0.7, right=1.0, between=0.06)
    for panel, (name, label) in zip(axes[0], shown.items(), strict=True):
        limits = (0.5, last + 0.5, data.optimizee.size, 0)
        image = panel.imshow(tables[name][:, :last], aspect="auto", extent=limits, cmap=from_paper_to_full(), vmin=0,
                             vmax=brightest, interpolation="nearest")  # fmt: skip
        marks = {"stop_oracle": ("o", ink(), "best step in hindsight")}
        if name == "halt_pmf" and "stop_own" in data:
            marks["stop_own"] = ("s", OWN, "own stop")
        for stop, (marker, color, of) in marks.items():
            steps = [data[stop].values[rows].mean() for rows in groups]
            panel.plot(steps, height, marker, color=color, ms=4, mec=paper(), mew=0.6, label=of, clip_on=False)
        panel.set(title=label, xlabel="halting step t (steps)", xlim=limits[:2])
        whole(panel.xaxis)
        panel.legend(loc="upper right", frameon=True, facecolor=paper(), edgecolor="none", framealpha=0.8)
    ticks = np.linspace(0, data.optimizee.size - 1, 6).round().astype(int)
    axes[0, 0].set_yticks(ticks + 0.5, data.stop_oracle.values[ticks])
    axes[0, 0].set_ylabel("problems by their best step (steps)")
    box = axes[0, -1].get_position()
    figure.colorbar(image, cax=figure.add_axes((box.x1 + 0.012, box.y0, 0.012, box.height)), label="probability")
    return headed(figure, _of_means(data, has_posterior(tree)), _first(tree))


def _of_means(data: xr.Dataset, learned: bool) -> str:
    exact = _mean_step(data.tempered_pmf)
    easy, hard = exact[: len(exact) // 4 + 1].mean(), exact[-(len(exact) // 4 + 1) :].mean()
    if not learned:
        return f"The exact posterior halts at step {easy:.0f} on easy problems and {hard:.0f} on hard ones, on average"
    correlation = rank_correlation(_mean_step(data.halt_pmf), exact)
    gap = f"The learned posterior is {float(data.tempered_gap.mean()):.2g} nats from the exact one"
    return gap if np.isnan(correlation) else f"{gap}; their means have rank correlation {correlation:.2f}"


def halting_by_problem(tree: xr.DataTree) -> Figure:
    """Problems from easy to hard: what stopping at t would cost, and below it prior, q and exact posterior."""
    data = _from_easy_to_hard(finite(tree))
    data = data.isel(optimizee=np.unique([round(share * (data.optimizee.size - 1)) for share in SHOWN]))
    cost = data.loss_path + price(tree) * data.step
    data = data.assign(cost=cost - cost.min("step"))
    figure, axes = panels(2, data.optimizee.size, 5.2, sharex=True, sharey="row", bottom=0.85, between=0.12)
    for number, (above, below) in enumerate(axes.T):
        _draw_problem(above, below, data.isel(optimizee=number), tree)
    last = data.step.size
    top = max(1.1 * price(tree) * last, float(data.cost.quantile(0.6, "step").max()))
    axes[0, 0].set(ylabel="above its smallest (nats)", ylim=(-0.04 * top, top))
    axes[1, 0].set(ylabel="probability", ylim=(0, None), xlim=(0, last + 1))
    whole(axes[1, 0].xaxis)
    named = {
        label: line for panel in axes[:, 0] for line, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend([*named.values()], [*named], loc="lower center", ncols=4)
    finding = f"From easy to hard, stopping pays best at step {_listed(data.stop_oracle)}"
    if "stop_own" in data:
        finding += f"; the own stop comes at {_listed(data.stop_own)}"
    return headed(figure, finding, _first(tree))


def _listed(steps: xr.DataArray) -> str:
    return ", ".join(str(step) for step in steps.values)


def _draw_problem(above: Any, below: Any, row: xr.Dataset, tree: xr.DataTree) -> None:
    """One problem: loss, and loss and steps together, ``above``; distributions of t ``below``; stops in both."""
    steps = row.step
    above.plot(steps, row.loss_path - row.loss_path.min(), color=LOSS, label="loss, above its smallest")
    above.plot(steps, row.cost, color=ink(), label="loss + price of the steps, above its smallest")
    above.set_title(_of_stop(row))
    below.fill_between(steps, row.prior_pmf, step="mid", color=PRIOR, alpha=0.3, lw=0, label="prior p(t)")
    if has_posterior(tree):
        below.fill_between(steps, row.halt_pmf, step="mid", color=LEARNED, alpha=0.4, lw=0, label="learned q(t|x)")
    below.step(steps, row.tempered_pmf, where="mid", color=EXACT, lw=1.3, label=_exact(tree))
    mode = int(row.tempered_pmf.values.argmax())
    below.plot(steps[mode], row.tempered_pmf[mode], "o", color=EXACT, ms=5, label="its mode")
    below.set_xlabel("step t (steps)")
    lines = {"stop_oracle": (ink(), ":", "best step in hindsight"), "stop_own": (OWN, "-", "own stop")}
    for name in [name for name in lines if name in row]:
        color, dashes, label = lines[name]
        for panel in (above, below):
            panel.axvline(int(row[name]), color=color, ls=dashes, lw=1.4, label=label)


def _of_stop(row: xr.Dataset) -> str:
    best = int(row.stop_oracle)
    if "stop_own" not in row:
        return f"best at {best}"
    return f"stop {int(row.stop_own)}, best {best}: {float(row.cost.sel(step=row.stop_own)):.2f} nats"


def gaps_and_calibration(tree: xr.DataTree) -> Figure:
    """The gaps of each problem by its difficulty, and whether t of the exact posterior is a draw from q."""
    data = finite(tree)
    figure, (axes,) = panels(1, 2, 4.2, between=0.2)
    _draw_gaps(axes[0], data[["amortisation_gap", "horizon_gap"]].mean("chain"), kl_scale(tree))
    density = pit_density(data.halt_pmf.values, data.tempered_pmf.values)
    edges = np.linspace(0, 1, BINS + 1)
    axes[1].stairs(density.mean(0), edges, fill=True, color=LEARNED, alpha=0.4, label="mean over problems")
    if len(density) > 1:
        for one in density:
            axes[1].stairs(one, edges, color=LEARNED, lw=0.8)
    axes[1].axhline(1, color=ink(), ls=":", label="q = exact posterior")
    axes[1].set(xlabel=f"probability q(halted by t|x) at t drawn from {_exact(tree)}", ylabel="density", xlim=(0, 1))
    axes[1].set_ylim(0, max(1.5, 1.25 * float(density.max())))
    axes[1].set_title("calibration of q: flat where it is exact")
    axes[1].legend(loc="upper right", ncols=2)
    amortisation, horizon = float(data.amortisation_gap.mean()), float(data.horizon_gap.mean())
    centre = float(density.mean(0) @ (edges[:-1] + edges[1:]) / 2 / BINS)
    side = "neither early nor late" if abs(centre - 0.5) < 0.02 else "early" if centre > 0.5 else "late"
    finding = f"The bound is {amortisation + horizon:.2g} nats below the evidence, {amortisation:.2g} by amortisation"
    return headed(figure, f"{finding}; on average q halts {side}", about(tree))


def _draw_gaps(axes: Any, data: xr.Dataset, kappa: float) -> None:
    """Both gaps of each problem: bars are means of problems alike, points the problems, sorted by their sum."""
    order = np.argsort(data.difficulty.values, kind="stable")
    groups = np.array_split(order, min(GROUPS, len(order)))
    total = (data.amortisation_gap + data.horizon_gap).values
    parts = {"amortisation_gap": (LEARNED, "amortisation gap"), "horizon_gap": (PRIOR, "horizon gap")}
    base = np.zeros(len(groups))
    for name, (color, label) in parts.items():
        mean = np.array([data[name].values[group].mean() for group in groups])
        axes.bar(range(len(groups)), mean, bottom=base, width=0.8, color=color, alpha=0.5, label=f"{label}, mean")
        base = base + mean
    places = np.concatenate([place + np.linspace(-0.38, 0.38, len(group)) for place, group in enumerate(groups)])
    points = np.concatenate([np.sort(total[group]) for group in groups])
    axes.plot(places, points, ".", color=ink(), ms=2, label="both, each problem")
    spans = [data.difficulty.values[group][[0, -1]] for group in groups]
    axes.set_xticks(range(len(groups)), ["-".join(dict.fromkeys(f"{end:.0f}" for end in ends)) for ends in spans])
    axes.tick_params("x", labelsize="small")
    axes.set_ylim(min(0.0, float(points.min())), 1.4 * max(float(np.quantile(points, 0.98)), float(base.max()), 1e-9))
    axes.set(xlabel="best step of the problems, groups of as many (steps)", ylabel="gap (nats)")
    axes.set_title("evidence less bound" + ("" if kappa == 1 else ", at KL scale 1"))
    axes.legend(loc="upper left")


def pit_density(q: Array, exact: Array) -> Array:
    """Density, in ``BINS`` bins, of Q(t|x) at t ~ ``exact``, spread evenly over [Q(t - 1), Q(t)]; 1 where they agree.

    The probability integral transform of a discrete prediction, without its random numbers (Czado, Gneiting and
    Held 2009).  ``q`` and ``exact`` are (chain, optimizee, step); of each chain the mean over problems, (chain, bin).
    """
    upper = q.cumsum(-1)
    lower, width = upper - q, np.maximum(q, 1e-300)
    below = [
        (exact * np.clip((edge - lower) / width, 0, 1)).sum(-1).mean(-1) for edge in np.linspace(0, 1, BINS + 1)[1:-1]
    ]
    ends = np.zeros(len(q)), np.ones(len(q))
    return BINS * np.diff(np.stack([ends[0], *below, ends[1]], -1), axis=-1)


FIGURES: dict[str, Callable[[xr.DataTree], Figure]] = {
    "halting_heat_map": halting_heat_map,
    "halting_by_problem": halting_by_problem,
    "stop_and_regret": stop_and_regret,
    "gaps_and_calibration": gaps_and_calibration,
    "arviz_forest": arviz_seam.forest,
}


def drawable(tree: xr.DataTree) -> list[str]:
    """The names of ``FIGURES`` that there is something to show in."""
    data = finite(tree)
    if data.optimizee.size == 0:
        return []
    without = {"stop_and_regret": "stop_own" not in data, "gaps_and_calibration": not has_posterior(tree)}
    return [name for name in FIGURES if not without.get(name)]


def draw_all(
    tree: xr.DataTree, records: Records, folder: Path, *, style: str = "light", kind: str = "png"
) -> list[Path]:
    """Every figure that there is something to show in, and the learning curve; returns the files in ``folder``.

    :param style: one of ``style.STYLES``.
    :param kind: of the files, ``png`` or ``svg``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with styled(style):
        paths = [save_figure(FIGURES[name](tree), folder / f"{name}.{kind}") for name in drawable(tree)]
        return [*paths, save_figure(learning_curve(records, tree), folder / f"learning_curve.{kind}")]
