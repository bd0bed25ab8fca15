"""The card of an exported optimizer: how it was trained, what it reaches, where not to trust it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from probact.reports.run_report import Summary
from probact.runs.run import Chain, Run
from probact.runs.trained import TrainedOptimizer
from probact.support.files import expanded, write_atomically
from probact.support.missing import MissingError
from probact.support.sight import Sight

WORN_BY = {
    Sight.GRADIENT: "An optimizer for `probact.LearnedOptimizer`",
    Sight.VALUE: "A search for `probact.BlackBoxOptimizer`",
    Sight.INPUT: "A computation",
}
TO_BE_WRITTEN = "To be written: what it was not tried on, and where it fails."


def summary_of(run: Run) -> Summary:
    """What ``fit`` found at its end.

    :raises ValueError: if it did not get there, or the file is damaged.
    """
    if not run.summary.exists():
        raise MissingError(f"{run.folder}: no summary.json", "report", run.folder)
    try:
        return Summary.from_json(run.summary.read_text())
    except ValueError as error:
        raise ValueError(f"{run.summary}: {error}") from None


def trainings_of(chain: Chain) -> list[Chain]:
    """``chain`` behind the trainings that it began with, as far as their runs are there."""
    source = chain.experiment.begin_with
    run = expanded(source)
    before = trainings_of(Run.open(run).best()) if source and run.is_dir() else []
    return [*before, chain]


def write_card(
    out: Path,
    one: TrainedOptimizer,
    trainings: Sequence[tuple[Chain, str]],
    summary: Summary,
    limits: str = "",
) -> Path:
    """The card of the file ``out``, which holds ``one``, the optimizer that the last of ``trainings`` made.

    :param trainings: what it was trained by, in turn, and the command for each.
    :param summary: of the last one's run.
    :returns: where it is written, beside ``out``.
    """
    settings = trainings[-1][0].experiment
    rule, head = (
        sum(weight.numel() for weight in module.parameters()) if module is not None else 0
        for module in (one.rule, one.posterior)
    )
    parts = [
        f"# {out.stem}",
        f"{WORN_BY[one.rule.sees]}: {one.describe()}.\n"
        f"{rule:,} weights of the rule and {head:,} of the halting posterior; {out.stat().st_size:,} bytes.",
        "## Training",
        *(f"```sh\n{command}\n```\n\n{_effort(chain)}" for chain, command in trainings),
        "## What it reaches",
        f"Mean over {summary.num_optimizees:,} held-out problems of `{settings.family}` and over training seeds "
        f"{', '.join(map(str, summary.seeds))}; losses and gaps in nats.",
        _losses(summary),
        *([_halting(summary)] if one.posterior is not None else []),
        "## Limits",
        limits or TO_BE_WRITTEN,
        "## Licence",
        "Apache-2.0",
    ]
    path = out.with_suffix(".md")
    write_atomically(path, "\n\n".join(parts) + "\n")
    return path


def _effort(chain: Chain) -> str:
    settings = chain.experiment
    minutes = sum(record["seconds"] for record in chain.records()) / 60
    return (
        f"Seed {settings.seed}: {settings.meta_steps:,} meta-steps of {settings.batch} problems, {minutes:.3g} minutes "
        f"on {settings.device}."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: Any) -> str:
    return str(value) if not isinstance(value, float) else "-" if math.isnan(value) else f"{value:.4g}"


def _losses(summary: Summary) -> str:
    rows = [
        (f"{summary.rule}, trained", summary.loss_at),
        (f"{summary.rule}, before training", summary.start_loss_at),
    ]
    if summary.adam_loss_at:
        rows.append((f"adam, learning rate {summary.adam_lr:g}, tuned for the last step", summary.adam_loss_at))
    if summary.start_loss_at == summary.loss_at:  # a frozen rule is what it was
        del rows[1]
    head = ["after step", "0", *summary.loss_at]
    return _table(head, [[label, summary.initial_loss, *losses.values()] for label, losses in rows])


def _halting(summary: Summary) -> str:
    step, found = summary.halting, summary.stopping
    rows = [
        [f"halting step ({found.rule}), mean", step.mean],
        ["its standard deviation over problems", step.sd],
        ["its rank correlation with the best step in hindsight", found.rank_correlation],
        ["loss there", found.loss],
        [f"loss + {found.price:.4g} a step there", found.J],
        ["the same of the best budget for all", found.J_budget],
        ["the same of the best step in hindsight", found.J_oracle],
        ["amortisation gap", summary.amortisation_gap],
        ["horizon gap", summary.horizon_gap],
    ]
    if summary.kl_scale != 1:  # the gaps are those of scale 1
        rows.append([f"amortisation gap at KL scale {summary.kl_scale:g}, as trained", summary.tempered_gap])
    return _table(["halting", ""], rows)
