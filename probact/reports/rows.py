"""Rows of the tables that a terminal and a page both show, as text: a label, and its cells."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from probact.reports.verdict import OTHERS, Stopping, is_own
from probact.support.statistics import LEVELS
from probact.support.words import counted

if TYPE_CHECKING:
    from probact.reports.halting_statistics import HaltingStatistics
    from probact.reports.run_report import Summary

Row = tuple[str, list[Any]]
WORTH = ("loss + price", "loss", "steps", "± sd")
NAMES = {"budget": "best budget for all", "patience": "best patience"}
STEP = ("mean", "sd", *(f"{level:.0%}" for level in LEVELS))


def loss_rows(summary: Summary) -> Iterator[Row]:
    """Held-out losses at the steps of ``summary.loss_at``: trained, before training, and Adam's where it was run."""
    losses = {f"{summary.rule}, trained": summary.loss_at, f"{summary.rule}, before training": summary.start_loss_at}
    if summary.adam_loss_at:
        losses[f"adam, tuned (lr {summary.adam_lr:g})"] = summary.adam_loss_at
    for label, values in losses.items():
        yield label, [finite_number(values[step]) for step in summary.loss_at]


def finite_number(value: float) -> str:
    """To four digits; what is not finite in words.

    >>> finite_number(12.3456), finite_number(math.inf)
    ('12.35', 'diverged')
    """
    return f"{value:.4g}" if math.isfinite(value) else "diverged"


def loss_note(summary: Summary) -> str:
    """What ``loss_rows`` are of."""
    known = "" if math.isnan(summary.optimum) else f", at the optimum {summary.optimum:.4g}"
    num, lost = summary.num_optimizees, counted(summary.num_diverged, "problem", form=",")
    mean = f"mean over {counted(num, 'problem', form=',')} of" if num else f"where it is finite; all {lost} diverged of"
    return f"held-out loss, {mean} {summary.family} (at the start {finite_number(summary.initial_loss)}{known})"


def worth_rows(found: Stopping) -> Iterator[Row]:
    """The columns ``WORTH`` of the own stop, budget, patience, hindsight and all steps.

    A tuned rule that is the own stop has one row.
    """
    same = [NAMES[other] for other in OTHERS if is_own(found, other)]
    labels = {
        "": f"{'own stop' if found.learned else ', '.join(same) or 'best plain rule'}: {of_all_seeds(found.rule)}",
        **{f"_{other}": NAMES[other] for other in OTHERS if not is_own(found, other)},
        "_oracle": "best step of each, in hindsight",
        "_horizon": "all steps",
    }
    for of, label in labels.items():
        J, loss, steps, sd = (found[f"{number}{of}"] for number in ("J", "loss", "steps", "sd"))
        yield label, [f"{J:.4g}", f"{loss:.4g}", f"{steps:.1f}", f"{sd:.1f}"]


def of_all_seeds(rules: str) -> str:
    """``hazard >= 0.1; hazard >= 0.3`` of several seeds in one: the rule once, with the range of what differs."""
    each = list(dict.fromkeys(rules.split("; ")))
    numbers = [_NUMBER.findall(rule) for rule in each]
    differ = [place for place, texts in enumerate(zip(*numbers, strict=False)) if len(set(texts)) > 1]
    if len({_NUMBER.sub("", rule) for rule in each}) > 1 or len(differ) != 1:
        return "; ".join(each)
    of_seeds = sorted((of_one[differ[0]] for of_one in numbers), key=float)
    parts = re.split(f"({_NUMBER.pattern})", each[0])
    parts[2 * differ[0] + 1] = f"{of_seeds[0]} to {of_seeds[-1]}"
    return "".join(parts)


_NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")


def worth_note(statistics: HaltingStatistics) -> str:
    """What ``worth_rows`` are of."""
    lost = f" ({statistics.num_diverged} diverged and left out)" if statistics.num_diverged else ""
    return (
        f"stopping at {statistics.stopping.price:.4g} nats a step, mean over "
        f"{counted(statistics.num_optimizees, 'held-out problem', form=',')}{lost}"
    )


def step_rows(statistics: HaltingStatistics, learned: bool) -> Iterator[Row]:
    """The columns ``STEP`` of prior, q and exact posterior of the halting step."""
    for label, pmf in (
        ("prior p(t)", statistics.prior),
        *([("q(t|x)", statistics.posterior)] if learned else []),
        (f"exact p(t|x){at_scale(statistics)}", statistics.exact),
    ):
        yield label, [pmf.mean, pmf.sd, *(pmf.quantiles.get(str(level)) for level in LEVELS)]


def at_scale(statistics: HaltingStatistics) -> str:
    """The KL scale of training, where it is not 1."""
    return "" if statistics.kl_scale == 1 else f", at KL scale {statistics.kl_scale:g}"


def evidence_rows(statistics: HaltingStatistics, learned: bool) -> Iterator[Row]:
    """Evidence, and with a q its bound and gaps, in nats: these are of KL scale 1, where the bound is one."""
    rows = {"log p(x)": statistics.log_evidence}
    if learned:
        rows["ELBO"] = statistics.elbo
        rows["amortisation gap"] = statistics.amortisation_gap
        rows["horizon gap"] = statistics.horizon_gap
    if learned and at_scale(statistics):
        rows[f"amortisation gap{at_scale(statistics)}"] = statistics.tempered_gap
    for label, value in rows.items():
        yield label, [f"{value:.3f}"]
