"""What the figures of a page draw: a run's numbers, rounded, as JSON can hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from probact.reports.objective_unit import with_unit
from probact.reports.posterior_file import STOPS, finite, has_posterior, kl_scale, price, tables
from probact.reports.training_figures import Records, room_below
from probact.support.files import finite_numbers

PATH_NUMBERS = 220_000
"""Numbers of all tables (problem, step) of a page together, about 1.3 MB: more problems are thinned out."""
UNIT = 10_000
"""Probabilities are whole numbers of this part of 1."""
POINTS = 300
"""Of a learning curve: more meta-steps are averaged with their neighbours."""
_OF_PROBLEM = ("elbo", "log_evidence", "amortisation_gap", "horizon_gap", "tempered_gap")


def shown_problems(tree: xr.DataTree, numbers: int = PATH_NUMBERS) -> xr.Dataset:
    """The tables of problems that diverged in no chain, from easy to hard, evenly thinned to ``numbers`` path numbers.

    Those of the same difficulty are in the order of the mean of their exact posterior.
    """
    data = finite(tree)
    mean = (data.tempered_pmf * data.step).sum("step").mean("chain")
    order = np.lexsort((mean.values, data.difficulty.values))
    room = max(2, numbers // (3 * data.sizes["chain"] * data.sizes["step"]))
    if len(order) > room:
        order = order[np.linspace(0, len(order) - 1, room).round().astype(int)]
    return data.isel(optimizee=order)


def run_data(tree: xr.DataTree, records: Records, numbers: int = PATH_NUMBERS) -> dict[str, Any]:
    """Of one run; tables are lists by chain, problem (easy to hard) and step, probabilities in parts of ``UNIT``."""
    data = shown_problems(tree, numbers)
    learned, cost = has_posterior(tree), price(tree)
    decimals = max(0, math.ceil(1 - math.log10(cost / 2))) if cost > 0 else 4
    itself, chains = _itself(data, tree), [data.isel(chain=number) for number in range(data.sizes["chain"])]
    content = {
        "price": significant(cost, 6),
        "steps": data.sizes["step"],
        "learned": learned,
        "kappa": kl_scale(tree),
        "unit": UNIT,
        "objective": with_unit(tree),
        "kept": [int(number) for number in data.optimizee.values],
        "of": int(tables(tree).sizes["optimizee"]),
        "size": data["size"].values.tolist() if "size" in data.coords else None,
        "optimum": [rounded(value, decimals) for value in data.optimum.values] if "optimum" in data else None,
        "prior": parts(data.prior_pmf.values),
        "chains": [_of_chain(chain, learned, decimals, itself) for chain in chains],
        "room": {label: significant(nats, 4) for label, nats in room_below(tree).items()},
        "training": [{"label": label, **curve(chain)} for label, chain in records.items()],
        "exact_mean": significant(float((data.tempered_pmf * data.step).sum("step").mean()), 4) if data.sizes[
            "optimizee"] else None,
    }  # fmt: skip
    found: dict[str, Any] = finite_numbers(content)
    return found


def _itself(data: xr.Dataset, tree: xr.DataTree) -> set[str]:
    """Tuned rules that are the own stop, where that is a plain one: they are drawn once."""
    if tree.attrs.get("stop_is_learned", 1) or "stop_own" not in data:
        return set()
    return {name for name in ("budget", "patience") if bool((data[f"stop_{name}"] == data.stop_own).all())}


def _of_chain(data: xr.Dataset, learned: bool, decimals: int, itself: set[str]) -> dict[str, Any]:
    content: dict[str, Any] = {
        "loss": [[rounded(value, decimals) for value in path] for path in data.loss_path.values.tolist()],
        "start": [rounded(value, decimals) for value in data.initial_loss.values.tolist()],
        "exact": [parts(pmf) for pmf in data.tempered_pmf.values],
        "q": [parts(pmf) for pmf in data.halt_pmf.values] if learned else None,
    }
    content |= {name: data[f"stop_{name}"].values.tolist() for name in STOPS if f"stop_{name}" in data}
    for name in itself & {*content}:
        del content[name]
    content |= {name: [significant(value, 5) for value in data[name].values.tolist()] for name in _OF_PROBLEM}
    return content


def parts(pmf: Any) -> list[int]:
    """Probabilities as whole numbers of ``1 / UNIT``."""
    found: list[int] = np.rint(np.asarray(pmf, dtype=float) * UNIT).astype(int).tolist()
    return found


def rounded(value: float, decimals: int) -> float:
    """To so many decimals, but no more than seven significant digits."""
    return significant(round(value, decimals), 7) if math.isfinite(value) else value


def significant(value: float, digits: int) -> float:
    """To so many significant digits."""
    return float(f"{value:.{digits}g}")


def curve(chain: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Meta-step, objective and E[t] of a training, means of neighbours, and each validation ``[meta-step, objective]``.

    ``kept`` is the meta-step of the best validation, None where there was none; ``gap`` is as ``validation``, from
    bound to evidence.
    """
    together = max(1, math.ceil(len(chain) / POINTS))
    groups = [chain[first : first + together] for first in range(0, len(chain), together)]
    validated = [(one["step"], one["validation"]) for one in chain if one["validation"] is not None]
    best = min(validated, key=lambda pair: pair[1], default=None)
    return {
        "step": [group[-1]["step"] for group in groups],
        "loss": [_mean([one["loss"] for one in group]) for group in groups],
        "halting": [_mean([one["mean_halting"] for one in group]) for group in groups],
        "validation": [[step, significant(value, 6)] for step, value in validated],
        "kept": best and best[0],
        "gap": [[one["step"], significant(gap, 4)] for one in chain if (gap := _gap(one)) is not None],
        "together": together,
    }


def _gap(record: Mapping[str, Any]) -> float | None:
    """From bound to evidence on the validation problems; None where it was not measured."""
    amortisation, horizon = record.get("amortisation_gap"), record.get("horizon_gap")
    return None if amortisation is None or horizon is None else float(amortisation + horizon)


def _mean(values: Sequence[float | None]) -> float | None:
    """Of those that are numbers; None without any."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return significant(sum(known) / len(known), 5) if known else None
