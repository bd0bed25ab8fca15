"""What speaks for and against a run's numbers, in words: checks of its own files, each passed or not."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr

from probact.reports.objective_unit import objective_of
from probact.reports.posterior_file import finite, has_posterior, price
from probact.reports.runs_compared import FEW_SEEDS
from probact.reports.text import training_note
from probact.reports.training_figures import Records
from probact.reports.verdict import LOOSE_CORRELATION, OTHERS, Stopping, is_own
from probact.support.words import counted

if TYPE_CHECKING:
    from probact.reports.halting_statistics import HaltingStatistics
    from probact.reports.run_report import Summary

WIDE_GAP = 1.0
"""Nats from the bound to the evidence, or from q to the exact posterior, from which on q says little."""
AT_THE_END = 0.05
"""Share of the problems whose best step is the last one, from which on H is too small."""
AGREE = 1.1
"""R-hat of t up to which chains, of independent draws and each of its own training, believe about the same."""
SAMPLED = 200
"""Problems whose R-hat is worked out."""
FEW_PROBLEMS = 100
LATE = 0.25
"""The last part of a training, in which its validation should not have fallen by much any more."""


class Check(NamedTuple):
    """One of them.

    :ivar passed: False is a doubt.
    :ivar title: what is doubted, or all right, in a few words.
    :ivar text: in a sentence or two, with what to do.
    """

    passed: bool
    title: str
    text: str


def checks(tree: xr.DataTree, statistics: HaltingStatistics, summary: Summary, records: Records) -> list[Check]:
    """All that can be asked of this run."""
    data = finite(tree)
    found = [_seeds(data), *_lost(statistics, summary), *_changed(summary, records, tree), *_training(records, tree)]
    found += _against_others(summary)
    if data.sizes["optimizee"] == 0:
        return found
    found += [*_horizon(data), *_bound(statistics, has_posterior(tree)), *_agreement(tree)]
    if statistics.stopping.verdict:
        found += [_alike(statistics.stopping), *_worth(statistics.stopping)]
    return found


def _seeds(data: xr.Dataset) -> Check:
    num = data.sizes["chain"]
    if num >= FEW_SEEDS:
        return Check(True, "Several seeds", f"{num} training seeds: what another one would give shows in their spread.")
    said = "One training seed" if num == 1 else f"{num} training seeds"
    return Check(
        False,
        "Few seeds",
        f"{said}. The standard errors here are over problems: they do not say what another training would give; "
        f"`fit --chains {FEW_SEEDS}` does.",
    )


def _lost(statistics: HaltingStatistics, summary: Summary) -> Iterator[Check]:
    num, lost = statistics.num_optimizees, statistics.num_diverged
    if lost:
        yield Check(False, "Problems diverged", f"{lost} of {num + lost} held-out problems diverged and are left out.")
    if 0 < num < FEW_PROBLEMS:
        yield Check(
            False, "Few problems", f"{num} held-out problems: standard errors are rough; see `--test-problems`."
        )
    if note := training_note(summary):
        yield Check(not summary.skipped, "Training lost batches", f"{note[0].upper()}{note[1:]}.")


def _horizon(data: xr.Dataset) -> Iterator[Check]:
    last = data.sizes["step"]
    share = float((data.stop_oracle == last).mean())
    if share > AT_THE_END:
        yield Check(
            False,
            "H may be too small",
            f"For {share:.0%} of the problems the best step in hindsight is the last one, {last}: they might go on for "
            "longer. Train with a larger `--horizon`, or at a higher price of a step.",
        )
    else:
        yield Check(True, "H is large enough", f"{share:.0%} of the problems do best at the last step, {last}.")


def _bound(statistics: HaltingStatistics, learned: bool) -> Iterator[Check]:
    if not learned:
        yield Check(
            True,
            "No halting posterior",
            "This run learned none (`--halting none`): the exact posterior alone is shown.",
        )
        return
    scaled = statistics.kl_scale != 1
    gap = statistics.tempered_gap if scaled else statistics.amortisation_gap + statistics.horizon_gap
    if math.isnan(gap):
        return
    where = f" at KL scale {statistics.kl_scale:g}, where it was trained" if scaled else ""
    what = "q is {} nats from the exact posterior" if scaled else "The bound is {} nats below the evidence"
    said = what.format(f"{gap:.3g}") + where
    if gap > WIDE_GAP:
        yield Check(
            False,
            "A wide gap",
            f"{said}: what q says of single problems is not to be trusted. Longer training, or another `--halting`, "
            "may close it.",
        )
    else:
        yield Check(True, "A narrow gap", f"{said}.")


def _agreement(tree: xr.DataTree) -> Iterator[Check]:
    """Of chains that are of different seeds: do they believe the same of the same problem?"""
    draws = tree["posterior"].to_dataset().t.sel(optimizee=finite(tree).optimizee)
    draws = draws.isel(optimizee=slice(None, SAMPLED))  # problems are in the order that they were drawn in
    if draws.sizes["chain"] < 2 or draws.sizes["draw"] < 4 or not has_posterior(tree):
        return
    from probact.reports.arviz_seam import convergence_of_problems

    r_hat, ess = convergence_of_problems(draws)
    apart, num = float((r_hat > AGREE).mean()), draws.sizes["chain"]
    said = (
        f"R-hat of t across the {num} seeds, on {draws.sizes['optimizee']} problems: median {np.median(r_hat):.3f}, "
        f"above {AGREE:g} on {apart:.0%}; effective draws {np.median(ess):,.0f} of "
        f"{num * draws.sizes['draw']:,} (median)."
    )
    if apart > AT_THE_END:
        yield Check(
            False,
            "Seeds disagree",
            f"{said} Draws of a seed are independent: what R-hat sees is that each seed has an optimizer, and a "
            "belief, of its own. Read them one by one.",
        )
    else:
        yield Check(True, "Seeds agree", said)


def _changed(summary: Summary, records: Records, tree: xr.DataTree) -> Iterator[Check]:
    """Whether the weights that were kept do other than those of the start; a frozen rule is not asked."""
    before, after = ([*losses.values()] for losses in (summary.start_loss_at, summary.loss_at))
    if records and not any(records.values()):
        text = "No meta-step was made: all here is of the starting weights. See `--meta-steps`."
        yield Check(False, "Training changed nothing", text)
    elif not json.loads(tree.attrs.get("settings", "{}")).get("freeze_rule") and np.allclose(before, after, rtol=1e-6):
        text = "The losses after training are those of before: the starting weights were kept, or the rule has none."
        yield Check(False, "Training changed nothing", f"{text} Train longer (`--meta-steps`), or at another `--lr`.")


def _training(records: Records, tree: xr.DataTree) -> Iterator[Check]:
    """Whether the best validation still fell, by more than a step costs (else 1 %), in the last part of training."""
    of_bound = tree.attrs.get("objective") == "elbo"
    unit = objective_of(tree)[1].replace("no unit", "")
    gaining, settled, hardly = list[str](), list[str](), list[str]()
    for label, chain in records.items():
        validated = [(one["step"], one["validation"]) for one in chain if one["validation"] is not None]
        early = [value for step, value in validated if step <= (1 - LATE) * chain[-1]["step"]]
        if not early:
            hardly.append(label)
            continue
        fall = min(early) - min(value for _, value in validated)
        enough = price(tree) if of_bound else 0.01 * abs(min(early))
        (gaining if fall > enough else settled).append(f"{label}: {fall:.2g}{unit and f' {unit}'}")
    when = f"In the last {LATE:.0%} of the meta-steps the best validation fell"
    limit = "a step's price" if of_bound else "1 %"
    if gaining:
        text = f"{when} by more than {limit} ({', '.join(gaining)}). Train longer: `--meta-steps`."
        yield Check(False, "Training was still gaining", text)
    if settled:
        yield Check(True, "Training had settled", f"{when} by no more than {limit} ({', '.join(settled)}).")
    if hardly:
        text = (
            f"Before the last {LATE:.0%} of the training never ({', '.join(hardly)}): nothing says whether it settled."
        )
        yield Check(False, "Hardly validated", text)


def _against_others(summary: Summary) -> Iterator[Check]:
    """The loss at the last step beside Adam's."""
    if not summary.adam_loss_at:
        return
    step, ours = list(summary.loss_at.items())[-1]
    adam = summary.adam_loss_at[step]
    if not (math.isfinite(ours) and math.isfinite(adam)):
        return
    than = "better than" if ours < adam else "worse than" if ours > adam else "the same as"
    by = f", by {abs(ours - adam):.3g} nats" if ours != adam else ""
    text = (
        f"After {counted(int(step), 'step')} the loss is {than} that of Adam with a tuned rate{by} ({ours:.4g} against "
        f"{adam:.4g}). `evaluate` sets it beside every baseline, at every step."
    )
    yield Check(ours < adam, f"{than[0].upper()}{than[1:]} Adam at the end", text)


def _alike(found: Stopping) -> Check:
    if found.sd == 0:
        text = "The own stop is the same step for all problems: the run has learned a budget, not when to stop."
        return Check(False, "Halting alike for all problems", text)
    if not math.isnan(found.rank_correlation) and found.rank_correlation < LOOSE_CORRELATION:
        text = f"The own stop hardly follows the best step: rank correlation {found.rank_correlation:.2f}."
        return Check(False, "Halting nearly alike for all problems", text)
    known = "" if math.isnan(found.rank_correlation) else f", rank correlation {found.rank_correlation:.2f}"
    text = f"The own stop varies by {found.sd:.1f} steps where the best step varies by {found.sd_oracle:.1f}{known}."
    return Check(True, "Halting depends on the problem", text)


def _worth(found: Stopping) -> Iterator[Check]:
    """Own stop against budget and patience, by their paired standard errors."""
    errors = {"budget": found.J_error, "patience": found.J_error_patience}
    for name in OTHERS:
        if is_own(found, name):
            continue  # it is this plain rule that stops
        other, difference, error = f"the best {name}", found.J - found[f"J_{name}"], errors[name]
        size = f"{abs(difference):.3g} nats" if math.isnan(error) else f"{abs(difference):.3g} ± {error:.2g} nats"
        if difference < -2 * error:
            yield Check(True, f"Better than {other}", f"In loss and steps together better than {other}, by {size}.")
        elif difference > 2 * error:
            yield Check(False, f"Worse than {other}", f"In loss and steps together worse than {other}, by {size}.")
        else:
            side = "less" if difference < 0 else "more"
            within = "of a single problem" if math.isnan(error) else "within two standard errors"
            text = f"In loss and steps together {size} {side} than {other}, {within}."
            yield Check(False, f"No better than {other}", text)


def doubts(found: Sequence[Check]) -> list[Check]:
    """Those that were not passed."""
    return [one for one in found if not one.passed]
