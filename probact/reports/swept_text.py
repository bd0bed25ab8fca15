"""``Swept`` as text for a terminal."""

from __future__ import annotations

import math
import textwrap

from probact.reports.columns import WIDTH, mean_and_error, table_lines
from probact.reports.swept import Swept, SweptRun, finding
from probact.support.words import counted

WIDTHS = (7, 14, 14, 15, 9)


def swept_table(found: Swept) -> str:
    """A line a point of the grid, and for which of them the losses speak."""
    seeds = max(run.num_seeds for run in found.runs)
    of_family = "" if "family" in found.varied else f" of {found.family}"
    head = f"{counted(len(found.runs), 'run')}{of_family}, {counted(seeds, 'seed')} each, mean ± standard error over "
    head += "the seeds"
    varied = ", ".join(name.replace("_", "-") for name in found.varied)
    lines = [head, *table_lines([(varied, _HEAD), *((run.name, _cells(run)) for run in found.runs)], WIDTHS)]
    if lost := sum(run.num_diverged for run in found.runs):
        lines.append(f"{counted(lost, 'problem')} diverged in some run, left out there")
    notes = [
        finding(found),
        "steps, loss: at each run's own stop, at the price of a step of its own nu.  gap: nats from the bound of q to "
        "the evidence.",
    ]
    return "\n".join([*lines, "", *(line for note in notes for line in textwrap.wrap(note, WIDTH))])


_HEAD = ("price", "steps", "loss", "log p(x)", "gap")


def _cells(run: SweptRun) -> list[str]:
    return [
        f"{run.price:.3g}",
        mean_and_error(run.steps, run.steps_sem),
        mean_and_error(run.loss, run.loss_sem),
        mean_and_error(run.log_evidence, run.log_evidence_sem),
        "-" if math.isnan(run.gap) else f"{run.gap:.3g}",
    ]
