"""What an optimizer's own stop is worth, in numbers and in words; nothing here needs torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from probact.reports.posterior_file import STOPS
from probact.support.results import Result
from probact.support.statistics import rank_correlation, standard_error
from probact.support.words import counted

if TYPE_CHECKING:
    from probact.reports.halting_statistics import HaltingStatistics

NAN = math.nan
OTHERS: tuple[Literal["budget", "patience"], ...] = ("budget", "patience")
"""What the own stop is compared with."""
CLOSE_CORRELATION, LOOSE_CORRELATION = 0.8, 0.3
"""With the best step in hindsight: from the first on a stop follows the problem, below the second it hardly does."""


@dataclass(frozen=True)
class Stopping(Result):
    """What the optimizer's own stop is worth at one price of a step; means over problems and chains, in nats and steps.

    J = loss at the stop + price * steps.  Of each: the own stop, the best fixed budget, the best patience, both tuned
    on the same other problems, and the best step in hindsight (``oracle``).  All steps: ``horizon``.

    :ivar rule: the own stop rule with its threshold, one a chain.
    :ivar learned: whether that follows the head; else it is the best plain rule.
    :ivar J_error, J_error_patience: standard errors over the problems of J - J_budget and of J - J_patience.
    :ivar wins, wins_patience: share of the problems that it costs less than the budget, and than patience.
    :ivar rank_correlation: Spearman's, of own stop and oracle, within chains.
    :ivar sd, sd_oracle: from problem to problem, in steps.
    :ivar verdict: in words.
    """

    rule: str = ""
    learned: bool = True
    price: float = NAN
    J: float = NAN
    J_budget: float = NAN
    J_patience: float = NAN
    J_oracle: float = NAN
    J_horizon: float = NAN
    J_error: float = NAN
    J_error_patience: float = NAN
    wins: float = NAN
    wins_patience: float = NAN
    loss: float = NAN
    loss_budget: float = NAN
    loss_patience: float = NAN
    loss_oracle: float = NAN
    loss_horizon: float = NAN
    steps: float = NAN
    steps_budget: float = NAN
    steps_patience: float = NAN
    steps_oracle: float = NAN
    steps_horizon: float = NAN
    sd: float = NAN
    sd_budget: float = NAN
    sd_patience: float = NAN
    sd_oracle: float = NAN
    sd_horizon: float = NAN
    rank_correlation: float = NAN
    verdict: str = ""


def worth(data: xr.Dataset, price: float, rule: str, learned: bool = True) -> Stopping:
    """From the tables of a posterior file, all finite, and what its attributes say of price and own rule."""
    steps = {name: data[f"stop_{name}"] for name in STOPS}
    steps["horizon"] = xr.full_like(steps["own"], data.sizes["step"])
    loss = {name: data.loss_path.sel(step=stop) for name, stop in steps.items()}
    J = {name: loss[name] + price * stop for name, stop in steps.items()}
    numbers: dict[str, Any] = {}
    for name in steps:
        of = "" if name == "own" else f"_{name}"
        numbers |= {f"J{of}": float(J[name].mean()), f"loss{of}": float(loss[name].mean())}
        numbers |= {f"steps{of}": float(steps[name].mean()), f"sd{of}": spread(steps[name])}
    for of, name in (("", "budget"), ("_patience", "patience")):
        difference = (J["own"] - J[name]).mean("chain")
        numbers[f"J_error{of}"] = standard_error(difference.values)
        numbers[f"wins{of}"] = float((J["own"] < J[name]).mean())
    numbers["rank_correlation"] = correlation(steps["own"], steps["oracle"])
    return Stopping(rule=rule, learned=learned, price=price, **numbers)


def is_own(found: Stopping, other: Literal["budget", "patience"]) -> bool:
    """Whether the own stop is no learned one but that tuned rule itself, with which it cannot be compared."""
    of, error = (found.J_budget, found.J_error) if other == "budget" else (found.J_patience, found.J_error_patience)
    return not found.learned and of == found.J and not error > 0


def correlation(a: xr.DataArray, b: xr.DataArray) -> float:
    """Spearman's over the problems, mean over the chains where neither is constant."""
    found = [rank_correlation(*pair) for pair in zip(a.values, b.values, strict=True)]
    known = [value for value in found if not math.isnan(value)]
    return float(np.mean(known)) if known else NAN


def spread(steps: xr.DataArray) -> float:
    """Standard deviation from problem to problem, mean over chains; NaN of a single problem."""
    return float(steps.std("optimizee", ddof=1).mean()) if steps.sizes["optimizee"] > 1 else NAN


def verdict(statistics: HaltingStatistics, found: Stopping) -> str:
    """In words: does it stop by the problem, what is that worth, how far is the bound from the evidence and why."""
    sentences = [_on_problems(found), _on_worth(found)]
    if not math.isnan(statistics.elbo):
        sentences.append(_on_bound(statistics))
    return " ".join(sentences)


def _on_problems(found: Stopping) -> str:
    plain = "" if found.learned else f"There is no head to follow step by step: a plain rule stops, {_plain(found)}. "
    if math.isnan(found.rank_correlation):
        return f"{plain}{how_it_depends(found)}."
    return (
        f"{plain}{how_it_depends(found)}: its rank correlation with the best step in hindsight is "
        f"{found.rank_correlation:.2f}, and it varies by {found.sd:.1f} steps where that one varies by "
        f"{found.sd_oracle:.1f}."
    )


def _plain(found: Stopping) -> str:
    same = [f"the best {other}" for other in OTHERS if is_own(found, other)]
    return f"{' and '.join(same)} ({found.rule})" if same else found.rule


def how_it_depends(found: Stopping) -> str:
    """The stop on the problem, in words."""
    if math.isnan(found.rank_correlation):
        return "The stop does not depend on the problem" if found.sd == 0 else "The best step is the same for all"
    if found.rank_correlation < LOOSE_CORRELATION:
        return "The stop hardly depends on the problem"
    if found.rank_correlation < CLOSE_CORRELATION or found.sd < found.sd_oracle / 2:
        return "The stop follows the problem in part"
    return "The stop follows the problem"


def _on_worth(found: Stopping) -> str:
    said = []
    if not is_own(found, "budget"):
        other = f"the best budget for all, {counted(found.steps_budget, 'step', form='.3g')}"
        said.append(_against(found.J - found.J_budget, found.J_error, other))
    if not is_own(found, "patience"):
        said.append(_against(found.J - found.J_patience, found.J_error_patience, "patience"))
    against = f"{', and '.join(said)}; it " if said else ""
    left = f"{found.J - found.J_oracle:.3g} more than the best step in hindsight"
    return f"In loss and steps together it {against}costs {left}."


def _against(difference: float, error: float, other: str) -> str:
    size = f"{abs(difference):.3g} nats" if math.isnan(error) else f"{abs(difference):.3g} ± {error:.2g} nats"
    if abs(difference) <= 2 * error:
        return f"is level with {other} ({size} apart)"
    return f"saves {size} against {other}" if difference < 0 else f"costs {size} more than {other}"


def _on_bound(statistics: HaltingStatistics) -> str:
    amortisation, horizon = statistics.amortisation_gap, statistics.horizon_gap
    gap = f"The bound is {amortisation + horizon:.3g} nats below the evidence"
    if statistics.kl_scale != 1:
        return (
            f"{gap} at KL scale 1; at {statistics.kl_scale:g}, where q was trained, q is {statistics.tempered_gap:.3g} "
            "nats from the exact posterior."
        )
    if horizon > amortisation:
        return f"{gap}, {horizon:.3g} of it as T is drawn before anything is known of t (horizon gap)."
    part = f"{amortisation:.3g}" if horizon else "all"
    return f"{gap}, {part} of it as q is not the exact posterior (amortisation gap)."
