"""``halt-stats``: how a run halts, on fresh problems."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from probact.cli.options import data_directory_option, prior_nu_option, run_argument, threads_option
from probact.cli.progress import telling
from probact.reports import text
from probact.runs.assembly import family_judged, num_coordinates
from probact.support.extras import is_installed
from probact.support.threads import use_threads
from probact.support.words import counted

if TYPE_CHECKING:
    import xarray as xr

    from probact.reports.how_long import HowLong
    from probact.runs.run import Run


@click.command("halt-stats")
@run_argument
@click.option(
    "--num-optimizees", type=click.IntRange(min=2), default=1000, show_default=True, help="Held-out problems."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which problems.")
@click.option(
    "--evidence-curve",
    is_flag=True,
    help="Say instead which nu the losses speak for (of the first chain), and draw its evidence.",
)
@click.option(
    "--nu-draws",
    type=click.IntRange(min=100, max=100_000),
    help="With --evidence-curve: draws of the posterior of nu by NUTS in each of two chains; of a run on a mixture, of "
    "each family's nu.  Written to RUN/nu.nc, for ArviZ.",
)
@prior_nu_option
@threads_option
@data_directory_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
def halt_stats(
    folder: Path | None,
    num_optimizees: int,
    seed: int,
    evidence_curve: bool,
    nu_draws: int | None,
    prior_nu: float | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """How a run halts, on fresh problems: beside the prior, the exact posterior and the full horizon.

    RUN is a folder that `fit` wrote; the latest one when none is named.
    """
    from probact.judging.problem_sets import held_out_problems
    from probact.reports.halting_statistics import halting_statistics
    from probact.reports.posterior_tree import to_datatree
    from probact.runs.run import Run

    run = (Run.latest() if folder is None else Run.open(folder)).at(prior_nu)
    if evidence_curve:
        use_threads(num_coordinates(run.experiment), threads)
        _show_evidence_curve(run, num_optimizees, seed, nu_draws or 0, as_json)
        return
    if nu_draws is not None:
        raise click.UsageError("--nu-draws: expected --evidence-curve beside it")
    objectives = [chain.load() for chain in run.chains]
    settings = family_judged(run.experiment)
    use_threads(num_coordinates(settings), threads)
    problems = held_out_problems(settings, num_optimizees, seed)
    with telling() as tell:
        tell(f"halting on {counted(num_optimizees, 'problem')}")
        tree = to_datatree(settings, objectives, problems, num_draws=1, seed=seed)
    statistics = halting_statistics(tree)
    if as_json:
        click.echo(statistics.to_json())
        return
    click.echo(f"run {run.folder}: family {settings.family}, rule {settings.rule}, halting {settings.halting}\n")
    click.echo(f"{text.worth_table(statistics)}\n")
    geometric = settings.horizon_prior == settings.halting_prior == "geometric"
    click.echo(text.halting_table(statistics, settings.prior_nu, settings.halting, settings.horizon, geometric))


def _show_evidence_curve(run: Run, num: int, seed: int, nu_draws: int, as_json: bool) -> None:
    """Of the first chain, on held-out problems of each part of its family."""
    from probact.inference.belief import infer
    from probact.reports.how_long import how_long, posterior_of_nu, table
    from probact.support.randomness import random_stream

    settings, objective = run.experiment, run.chains[0].load()
    losses = {}
    with telling() as tell:
        for part in settings.build_family().members:
            tell(f"losses on {counted(num, 'problem')} of {part.name}")
            inference = infer(objective, part.for_tests.sample(num, random_stream("test", seed)).to(settings.device))
            path = inference.rollout.nll[1:]
            losses[part.name] = path[:, path.isfinite().all(0)]
        if not all(path.shape[1] for path in losses.values()):
            raise ValueError(f"{run.folder}: expected problems that do not diverge, got none")
        tell("evidence of nu")
        prior, kappa = inference.prior, inference.kl_scale
        draws = posterior_of_nu(losses, prior.at, kappa, draws=nu_draws, seed=seed) if nu_draws else None
        found = how_long(losses, prior.at, settings.prior_nu, kappa, draws)
    written = [*_written(run, found, draws)]
    if as_json:
        click.echo(found.to_json())
        return
    click.echo(f"run {run.folder}: family {settings.family}, rule {settings.rule}, H {settings.horizon}\n")
    click.echo(table(found))
    click.echo("\n" + "\n".join(f"written to {file}" for file in written))


def _written(run: Run, found: HowLong, draws: xr.DataTree | None) -> Iterator[Path]:
    """The posterior's draws, and figures where they can be drawn."""
    if draws is not None:
        from probact.reports import posterior_file

        posterior_file.save(draws, run.folder / "nu.nc")
        yield run.folder / "nu.nc"
    if is_installed("plots"):
        from probact.reports.arviz_seam import forest_of_nu
        from probact.reports.nu_figure import evidence_curve
        from probact.reports.style import save_figure, styled

        with styled():
            yield save_figure(evidence_curve(found), run.figures / "evidence_curve.png")
            if draws is not None and len(found.posterior) > 1:
                yield save_figure(forest_of_nu(draws), run.figures / "nu_forest.png")
