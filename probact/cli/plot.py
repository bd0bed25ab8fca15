"""``plot``: the figures of a run again."""

from __future__ import annotations

from pathlib import Path

import click

from probact.cli.options import run_argument


@click.command()
@run_argument
def plot(folder: Path | None) -> None:
    """Redraw the figures of a run from its posterior.nc and metrics.jsonl.

    RUN is a folder that `fit` wrote; the latest one when none is named.
    """
    from probact.reports import halting_figures, posterior_file
    from probact.runs.run import Run

    run = Run.latest() if folder is None else Run.open(folder)
    for path in halting_figures.draw_all(posterior_file.load(run.posterior), run.records(), run.figures):
        click.echo(path)
