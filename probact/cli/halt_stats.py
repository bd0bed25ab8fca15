"""``halt-stats``: how a run halts, on fresh problems."""

from __future__ import annotations

from pathlib import Path

import click

from probact.cli.options import data_directory_option, run_argument, threads_option
from probact.cli.progress import telling
from probact.reports import text
from probact.runs.assembly import family_judged, num_coordinates
from probact.support.threads import use_threads


@click.command("halt-stats")
@run_argument
@click.option(
    "--num-optimizees", type=click.IntRange(min=2), default=1000, show_default=True, help="Held-out problems."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which problems.")
@threads_option
@data_directory_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
def halt_stats(folder: Path | None, num_optimizees: int, seed: int, threads: int | None, as_json: bool) -> None:
    """How a run halts, on fresh problems: beside the prior, the exact posterior and the full horizon.

    RUN is a folder that `fit` wrote; the latest one when none is named.
    """
    from probact.judging.problem_sets import held_out_problems
    from probact.reports.halting_statistics import halting_statistics
    from probact.reports.posterior_tree import to_datatree
    from probact.runs.run import Run

    run = Run.latest() if folder is None else Run.open(folder)
    objectives = [chain.load() for chain in run.chains]
    settings = family_judged(run.experiment)
    use_threads(num_coordinates(settings), threads)
    problems = held_out_problems(settings, num_optimizees, seed)
    with telling() as tell:
        tell(f"halting on {num_optimizees} problems")
        tree = to_datatree(settings, objectives, problems, num_draws=1, seed=seed)
    statistics = halting_statistics(tree)
    if as_json:
        click.echo(statistics.to_json())
        return
    click.echo(f"run {run.folder}: family {settings.family}, rule {settings.rule}, halting {settings.halting}\n")
    click.echo(f"{text.worth_table(statistics)}\n")
    click.echo(text.halting_table(statistics, settings.prior_nu, settings.halting, settings.horizon))
