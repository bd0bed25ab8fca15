"""The card of an exported optimizer: how it was trained, what it reaches, where not to trust it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from probact.files import write_atomically
from probact.pretrained import Pretrained
from probact.runs import Chain, Run

TO_BE_WRITTEN = "To be written: what it was not tried on, and where it fails."


def summary_of(run: Run) -> dict[str, Any]:
    """What ``fit`` found at its end.

    :raises ValueError: if it did not get there.
    """
    if not run.summary.exists():
        raise ValueError(f"{run.folder}: no summary.json; finish it with: python cli.py fit --resume {run.folder}")
    summary: dict[str, Any] = json.loads(run.summary.read_text())
    return summary


def write_card(
    out: Path, one: Pretrained, chain: Chain, summary: Mapping[str, Any], command: str, limits: str = ""
) -> Path:
    """The card of the file ``out``, which holds ``one``, the optimizer that ``chain`` trained.

    :param summary: of its run.
    :param command: what trains it again.
    :returns: where it is written, beside ``out``.
    """
    settings = chain.experiment
    minutes = sum(record["seconds"] for record in chain.records()) / 60
    rule, head = (
        sum(weight.numel() for weight in module.parameters()) if module is not None else 0
        for module in (one.rule, one.posterior)
    )
    parts = [
        f"# {out.stem}",
        f"An optimizer for `probact.LearnedOptimizer`: {one.describe()}.\n"
        f"{rule:,} weights of the rule and {head:,} of the halting posterior; {out.stat().st_size:,} bytes.",
        "## Training",
        f"```sh\n{command}\n```",
        f"Seed {settings.seed}: {settings.meta_steps:,} meta-steps of {settings.batch} problems, {minutes:.3g} minutes "
        f"on {settings.device}.",
        "## What it reaches",
        f"Mean over {summary['num_optimizees']:,} held-out problems of `{settings.family}` and over training seeds "
        f"{', '.join(map(str, summary['seeds']))}; losses and gaps in nats.",
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


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _losses(summary: Mapping[str, Any]) -> str:
    start, rule = summary["initial_loss"], summary["rule"]
    rows = [
        [label, start, *summary[key].values()]
        for label, key in (
            (f"{rule}, trained", "loss_at"),
            (f"{rule}, before training", "start_loss_at"),
            (f"adam, learning rate {summary['adam_lr']:g}, tuned for the last step", "adam_loss_at"),
        )
    ]
    return _table(["after step", "0", *summary["loss_at"]], rows)


def _halting(summary: Mapping[str, Any]) -> str:
    step = summary["halting"]
    rows = [
        [f"halting step ({summary['level']:.0%} of q(t\\|x) spent), mean", step["mean"]],
        ["its standard deviation over problems", step["sd"]],
        ["its rank correlation with the best step in hindsight", summary["rank_correlation"]],
        ["loss there", summary["loss_at_halting"]],
        ["amortisation gap", summary["amortisation_gap"]],
        ["horizon gap", summary["horizon_gap"]],
    ]
    return _table(["halting", ""], rows)
