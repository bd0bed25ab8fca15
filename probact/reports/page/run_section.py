"""What a page says of one run: what was asked, what came out, figures, tables, environment, how to reproduce it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from probact.reports.halting_statistics import HaltingStatistics, halting_statistics
from probact.reports.objective_unit import with_unit
from probact.reports.page import tables
from probact.reports.page.data import PATH_NUMBERS, shown_problems
from probact.reports.page.elements import code, details, element, listed, marked, paragraph, scrolled, section
from probact.reports.posterior_file import finite, has_posterior, kl_scale, price
from probact.reports.rows import NAMES, finite_number
from probact.reports.run_report import Summary
from probact.reports.soundness import Check, checks
from probact.reports.training_figures import Records
from probact.reports.verdict import OTHERS, is_own
from probact.support.words import counted


@dataclass(frozen=True)
class Reported:
    """A run, read.

    :ivar tree, records, summary: of posterior.nc, metrics.jsonl and summary.json.
    :ivar commands: what each is for -> how to type it; the first one makes the run.
    :ivar config: the text of experiment.json.
    :ivar own_price: of a step, in the unit of the family's values; 0 where these are nats.
    """

    name: str
    tree: xr.DataTree
    records: Records
    summary: Summary
    commands: dict[str, str]
    config: str
    own_price: float = 0.0


def run_section(run: Reported, source: str, heading: str = "", level: int = 2, numbers: int = PATH_NUMBERS) -> str:
    """All of one run.

    :param source: id of the element with its ``run_data``.
    :param heading: HTML above it, or empty.
    :param level: of the headings within.
    :param numbers: as in ``shown_problems``.
    """
    statistics = halting_statistics(run.tree)
    found = checks(run.tree, statistics, run.summary, run.records)
    parts = {
        "What was asked": code(next(iter(run.commands.values())), "the command") + paragraph(asked(run)),
        "What came out": _outcome(run, statistics),
        "Before you trust it": "".join(_doubts(found)),
        **(_figures(run, numbers) if statistics.num_optimizees else {}),
        "Training": "".join(_training(run)),
        "Tables": _tables(run, statistics, numbers),
        "Where it ran": _environment(run.summary),
        "How to reproduce it": "".join(_reproduction(run)),
    }
    sections = "".join(section(title, content, level) for title, content in parts.items())
    return element("article", heading + paragraph(about(run), class_="about") + sections, data_source=source)


def about(run: Reported) -> str:
    """Which run it is, in a line."""
    attrs, seeds = run.tree.attrs, run.summary.seeds
    trained = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    return f"Run {run.name}: family {attrs['family']}, rule {attrs['rule']}, halting {attrs['halting']}, {trained}."


def asked(run: Reported) -> str:
    """The command in words."""
    attrs, data = run.tree.attrs, run.tree["constant_data"].sizes
    made = max((records[-1]["step"] for records in run.records.values() if records), default=0)
    what = (
        f" and learn when to stop, with a halting posterior of kind {attrs['halting']}"
        if has_posterior(run.tree)
        else " without a halting posterior"
    )
    own = f", which is {run.own_price:.4g} in the unit of the family's own values" if run.own_price else ""
    return (
        f"Train rule {attrs['rule']} on problems of {attrs['family']},{what}: {made:,} meta-steps, at most "
        f"H = {attrs['horizon']} steps a problem, nu = {attrs['prior_nu']:g}. "
        f"A step costs {price(run.tree):.4g} nats{own}. All below is of {data['optimizee']:,} held-out problems."
    )


def _outcome(run: Reported, statistics: HaltingStatistics) -> str:
    found, summary = statistics.stopping, run.summary
    if not statistics.num_optimizees:
        return paragraph(lost(statistics), class_="verdict")
    verdict = found.verdict or "This run's file does not say what its stop is worth; `halt-stats` works it out."
    step, trained = list(summary.loss_at.items())[-1]
    reached = (
        f"After {counted(int(step), 'step')} the loss is {finite_number(trained)}; before training it was "
        f"{finite_number(summary.start_loss_at[step])}."
    )
    tiles: dict[str, str] = {}
    if found.verdict:
        of = {"budget": (found.J_budget, found.J_error), "patience": (found.J_patience, found.J_error_patience)}
        tiles = {
            "loss + price at the own stop, nats": f"{found.J:.4g}",
            **{
                _than(f"the {NAMES[other]}", found.J, of[other][0]): _apart(found.J, *of[other])
                for other in OTHERS
                if not is_own(found, other)
            },
            "more than hindsight": f"{found.J - found.J_oracle:.3g}",
            "own stop, steps, ± sd over problems": f"{found.steps:.1f} <small>± {found.sd:.1f}</small>",
        }
    if has_posterior(run.tree):
        scaled = statistics.kl_scale != 1
        gap = statistics.tempered_gap if scaled else statistics.amortisation_gap + statistics.horizon_gap
        tiles["from q to the exact posterior, nats" if scaled else "from bound to evidence, nats"] = f"{gap:.3g}"
    shown = "".join(element("div", element("dt", label) + element("dd", value)) for label, value in tiles.items())
    return paragraph(verdict, class_="verdict") + element("dl", shown, class_="tiles") + paragraph(reached)


def lost(statistics: HaltingStatistics) -> str:
    """What there is to say where no problem is left."""
    num = counted(statistics.num_diverged, "held-out problem", form=",")
    return f"The losses are not finite: all {num} diverged, and there is nothing to show of them."


def _than(other: str, own: float, others: float) -> str:
    return f"{'more' if own > others else 'less'} than {other}"


def _apart(own: float, others: float, error: float) -> str:
    return f"{abs(own - others):.3g}" + ("" if np.isnan(error) else f" <small>± {error:.2g}</small>")


def _doubts(found: Sequence[Check]) -> Iterator[str]:
    for passed in (False, True):
        these = [one for one in found if one.passed is passed]
        items = "".join(element("li", element("strong", marked(one.title)) + marked(one.text)) for one in these)
        shown = element("ul", items, class_="checks fine" if passed else "checks")
        if not passed:
            yield shown if these else paragraph("Nothing speaks against these numbers among what was checked.")
        elif these:
            yield details(f"{counted(len(these), 'check')} that {'was' if len(these) == 1 else 'were'} passed", shown)


def _figures(run: Reported, numbers: int) -> dict[str, str]:
    """What is drawn of the problems, by heading."""
    data, total = shown_problems(run.tree, numbers), finite(run.tree).sizes["optimizee"]
    shown = data.sizes["optimizee"]
    some = "" if shown == total else f" {shown} of {total:,} problems are shown here, evenly from easy to hard."
    one = (
        paragraph(f"Choose a problem, from easy to hard by its best step in hindsight.{some}", class_="quiet")
        + _controls(run, shown)
        + _figure("problem", "Above the loss, below what is believed about the step to halt at; lines are the stops.")
        + _chosen()
    )
    parts = []
    if "stop_own" in data:
        parts.append(_figure("stops", "On the diagonal nothing is lost. Click a point to see its problem above."))
    if has_posterior(run.tree):
        at = "" if kl_scale(run.tree) == 1 else " at the KL scale of training"
        parts.append(_figure("gaps", f"What q loses on each problem{at}. Click a bar to see its problem above."))
    if has_posterior(run.tree):
        parts.append(_figure("heat_q", "A row a problem, from easy to hard. Click one to see it above."))
    parts.append(_figure("heat_exact", "The same of the exact posterior: what q would be if it were perfect."))
    everyone = element("div", "".join(parts), class_="pair", data_live="", hidden="")
    return {"One problem at a time": one, "All problems": everyone}


def _figure(name: str, caption: str) -> str:
    drawing = element("div", "", class_="drawing", data_figure=name)
    legend = element("ul", "", class_="legend", data_legend=name)
    return element("figure", legend + drawing + element("figcaption", marked(caption)))


def _controls(run: Reported, shown: int) -> str:
    seeds = list(run.records)
    choice = "".join(element("option", label, value=str(number)) for number, label in enumerate(seeds))
    parts = [
        element("button", "easier", type="button", data_control="easier"),
        '<label class="wide">problem <input type="range" min="1" value="1" data-control="problem"></label>',
        element("button", "harder", type="button", data_control="harder"),
    ]
    if len(seeds) > 1:
        parts.append(element("label", f"training {element('select', choice, data_control='seed')}"))
    noscript = "<noscript><p>The figures need JavaScript; all numbers are in the tables below.</p></noscript>"
    return noscript + element("div", "".join(parts), class_="controls", data_live="", hidden="")


def _chosen() -> str:
    """What figures.js fills with words and stops of the problem that is shown."""
    head = "".join(element("th", name, scope="col") for name in ("stop", "step", "loss", "loss + price", "lost, nats"))
    body = element("thead", element("tr", head)) + element("tbody", "", data_rows="stops")
    step = '<label class="wide">step <input type="range" min="1" value="1" data-control="step"></label>'
    parts = [
        element("div", step, class_="controls"),
        element("p", "", class_="reading", data_reading="step"),
        element("p", "", class_="reading", data_reading="problem", aria_live="polite"),
        scrolled("The stops of this problem", body, kind="sortable plain"),
    ]
    return element("div", "".join(parts), data_live="", hidden="")


def _training(run: Reported) -> Iterator[str]:
    if any(run.records.values()):
        objective = (
            f"Objective, {with_unit(run.tree)}: faint on training batches, strong on the validation set. "
            "A ring: the weights kept."
        )
        figures = _figure("training", objective)
        if any(one["mean_halting"] is not None for records in run.records.values() for one in records):
            figures += _figure("halting", "Mean halting step under q, on training batches.")
        if any(one.get("amortisation_gap") is not None for records in run.records.values() for one in records):
            figures += _figure("gap_curve", "From bound to evidence on the validation problems: what q still loses.")
        yield element("div", figures, class_="pair", data_live="", hidden="")
    yield tables.chains([*_chains(run)], with_unit(run.tree))


def _chains(run: Reported) -> Iterator[list[Any]]:
    data, cost = finite(run.tree), price(run.tree)
    for number, (label, records) in enumerate(run.records.items()):
        validated = [(one["validation"], one["step"]) for one in records if one["validation"] is not None]
        best, kept = min(validated, default=(np.nan, "-"))
        chain, end = data.isel(chain=number), records[-1] if records else {"step": 0, "skipped": 0}
        steps, J, gap = np.nan, np.nan, np.nan
        if chain.sizes["optimizee"]:
            gap = float((chain.amortisation_gap + chain.horizon_gap).mean())
        if chain.sizes["optimizee"] and "stop_own" in chain:
            steps = float(chain.stop_own.mean())
            J = float((chain.loss_path.sel(step=chain.stop_own) + cost * chain.stop_own).mean())
        seconds = sum(one["seconds"] for one in records)
        yield [label, end["step"], str(kept), best, steps, J, gap, end["skipped"], f"{seconds:.0f}"]


def _tables(run: Reported, statistics: HaltingStatistics, numbers: int) -> str:
    learned = has_posterior(run.tree)
    parts = [paragraph("Click the head of a column to sort by it.", class_="quiet", data_live="", hidden="")]
    if statistics.num_optimizees:
        parts += [
            tables.worth(statistics),
            tables.losses(run.summary),
            tables.halting(statistics, learned),
            tables.evidence(statistics, learned),
            tables.problems(shown_problems(run.tree, numbers), run.tree, learned),
        ]
    else:
        parts.append(tables.losses(run.summary))
    return "".join(parts)


def _environment(summary: Summary) -> str:
    seconds = f"Training and report took {summary.seconds:,.0f} seconds."
    if not summary.environment:
        return paragraph(f"{seconds} On what, this run does not say: an earlier version made it.")
    return paragraph(seconds) + tables.environment(summary.environment)


def _reproduction(run: Reported) -> Iterator[str]:
    for what, command in run.commands.items():
        yield paragraph(what) + code(command, what)
    notes = [
        "The same settings and seeds give the same weights bit for bit on the same machine with the same versions and "
        "threads; elsewhere they give the same up to rounding.",
        "`posterior.nc` opens in ArviZ and xarray; `metrics.jsonl` has one line a meta-step; `summary.json` has the "
        "numbers of this page.",
    ]
    yield listed(notes)
    yield details("All settings (experiment.json)", code(run.config.strip(), "experiment.json"))
