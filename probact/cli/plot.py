"""``plot``: the figures of a run again."""

from __future__ import annotations

from pathlib import Path

import click

from probact.cli.options import run_argument


@click.command()
@run_argument
@click.option("--style", type=click.Choice(["light", "dark"]), default="light", show_default=True)
@click.option("--format", "kind", type=click.Choice(["png", "svg"]), default="png", show_default=True)
@click.option("--arviz", is_flag=True, help="ArviZ's own plots as well: trace, ranks, posterior, predictions.")
def plot(folder: Path | None, style: str, kind: str, arviz: bool) -> None:
    """Redraw the figures of a run from its posterior.nc and metrics.jsonl.

    RUN is a folder that `fit` wrote; the latest one when none is named.  The files go to stdout, how to read each of
    them to stderr.
    """
    from probact.reports import figure_guide, halting_figures, posterior_file
    from probact.runs.run import Run

    run = Run.latest() if folder is None else Run.open(folder)
    tree = posterior_file.load(run.posterior)
    paths = halting_figures.draw_all(tree, run.records(), run.figures, style=style, kind=kind)
    if arviz:
        from probact.reports.arviz_plots import draw_plots

        paths += draw_plots(tree, run.figures, style=style, kind=kind)
    for path in paths:
        click.echo(path)
    for line in figure_guide.lines(paths, posterior_file.has_posterior(tree)):
        click.echo(f"  {line}", err=True)
