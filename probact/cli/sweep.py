"""``sweep``: a grid of fits, and what the settings that vary do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from probact.cli.advice import command
from probact.cli.fit import asked_for, log_summary
from probact.cli.options import Place, data_directory_option, experiment_options, log_option, threads_option
from probact.cli.progress import progress, telling
from probact.runs.sweep import Sweep, seeds_of, values_of
from probact.support.devices import check_device
from probact.support.extras import is_installed
from probact.support.files import write_atomically
from probact.support.interrupts import asked_to_stop
from probact.support.lost import ClusterLostError, ProcessLostError
from probact.support.words import counted

if TYPE_CHECKING:
    from probact.runs.experiment import Experiment


class Texts(click.ParamType):  # type: ignore[type-arg]
    """A text that ``read`` understands."""

    name = "text"

    def __init__(self, read: Any) -> None:
        self.read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self.read(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


def varied(text: str) -> tuple[str, tuple[Any, ...]]:
    """``NAME=V,V,...`` as a setting and its values."""
    name, equals, values = text.partition("=")
    if not equals:
        raise ValueError(f"expected NAME=V,V,..., got {text!r}")
    name = name.strip().replace("-", "_")
    return name, values_of(name, values)


@click.command()
@click.option(
    "--prior-nu",
    "nus",
    type=Texts(partial(values_of, "prior_nu")),
    metavar="NU,NU,...",
    default="0.8,0.9,0.95",
    show_default=True,
    help="Probabilities to continue, a run each.",
)
@click.option("--seed", "seeds", type=Texts(seeds_of), metavar="S..S|S,S,...", default="0..2", show_default=True,
              help="Training seeds of every run.")  # fmt: skip
@click.option("--over", "others", type=Texts(varied), metavar="NAME=V,V,...", multiple=True,
              help="Another setting that varies, such as rule=lstm,subspace; a run for each combination.")  # fmt: skip
@partial(experiment_options, without=("prior_nu", "seed"))
@data_directory_option
@click.option("--out", type=Place(file_okay=False), help="The sweep's folder.  [default: runs/sweep-<family>-<rule>]")
@click.option("--jobs", type=click.IntRange(1, 1024), help="Trainings at once, a process each.  [default: one a core]")
@click.option("--cluster", metavar="ADDRESS",
              help="A Dask scheduler, such as tcp://host:8786, whose workers share --out and train; or local, to start "
              "one here with --jobs workers.")  # fmt: skip
@threads_option
@log_option
@click.option("--resume", type=Place(), help="Continue this sweep; takes no other option but --jobs, --cluster, "
              "--threads, --log and --data-dir.")  # fmt: skip
@click.pass_context
def sweep(
    context: click.Context,
    /,
    nus: tuple[float, ...],
    seeds: tuple[int, ...],
    others: tuple[tuple[str, tuple[Any, ...]], ...],
    out: Path | None,
    jobs: int | None,
    cluster: str | None,
    threads: int | None,
    loggers: tuple[str, ...],
    resume: Path | None,
    **given: Any,
) -> None:
    """Fit a grid of settings, several seeds each, and say what they do to halting, loss and evidence.

    Every point of the grid is a run, as `fit` makes it: `halt-stats`, `evaluate`, `compare` and `plot` take its folder.
    All other options are those of `fit`.  A training whose process or worker is lost goes on from its last checkpoint.
    """
    from probact.training.loggers.base import choose

    if resume is not None:
        with_resume = {"resume", "jobs", "cluster", "threads", "loggers"}
        source = context.get_parameter_source
        if wrong := [one.opts[0] for one in context.command.params if one.name not in with_resume
                     and source(one.name or "") is click.core.ParameterSource.COMMANDLINE]:  # fmt: skip
            raise click.UsageError(f"--resume takes its settings from {resume}/sweep.json: drop {', '.join(wrong)}")
        asked = Sweep.open(resume)
    else:
        asked = _created(nus, seeds, others, out, given)
    for run in asked.runs if loggers else ():
        choose(run.folder, loggers)
    num = jobs or os.cpu_count() or 1
    _train(asked, num, cluster, threads)
    _report(asked)


def _created(
    nus: tuple[float, ...], seeds: tuple[int, ...], others: Sequence[tuple[str, tuple[Any, ...]]], out: Path | None,
    given: dict[str, Any],
) -> Sweep:  # fmt: skip
    from probact.judging.tuning import with_tuned_rate
    from probact.runs.run import RUNS
    from probact.training.loop import begin, check

    names = [name for name, _ in others]
    fixed = [name for name in names if given.get(name) not in (None, {}) or name == "prior_nu"]
    if fixed or len(set(names)) < len(names):
        twice = fixed[0] if fixed else max(names, key=names.count)
        raise click.UsageError(f"--over {twice.replace('_', '-')}: expected a setting that is given once")
    if given.get("begin_with"):
        raise click.UsageError("--begin-with: expected none, as the runs of a sweep begin from their seeds")
    grid = {"prior_nu": nus, **dict(others)}
    points = Sweep(Path(), grid, seeds).points
    experiments: list[Experiment] = []
    for point in points:
        experiment, _ = asked_for({**given, **point})
        check_device(experiment.device)
        check(experiment)
        experiments.append(with_tuned_rate(experiment))
    first = experiments[0]
    asked = Sweep.create(out or RUNS / f"sweep-{first.family}-{first.rule}", grid, experiments, seeds)
    for chain in asked.chains:
        begin(chain)
    return asked


def _train(asked: Sweep, jobs: int, cluster: str | None, threads: int | None) -> None:
    """Train all chains; when that ends early, say how to continue."""
    from probact.runs.assembly import num_coordinates
    from probact.support.threads import use_threads
    from probact.training.many import train_here, train_on_cluster

    chains = asked.chains
    left = [chain for chain in chains if not chain.is_finished]
    used = use_threads(num_coordinates(chains[0].experiment), threads)
    who = f"the workers of {cluster}" if cluster else counted(min(jobs, len(left)), "process", "processes")
    runs, seeds = counted(len(asked.points), "run"), counted(len(asked.seeds), "seed")
    click.echo(f"sweep {asked.folder}: {runs} of {seeds}, {counted(len(left), 'training')}")
    if not left:
        return
    click.echo(f"trained by {who}; threads {used} of {os.cpu_count()}")
    again = f"continue with: {command('sweep', '--resume', asked.folder)}"
    varied = tuple(name for name, values in asked.varied.items() if len(values) > 1)
    try:
        answer = "stopping after this meta-step; once more: at once, and back to the last checkpoint"
        with asked_to_stop(answer) as stop, telling() as tell:
            if cluster:
                finished = train_on_cluster(left, cluster, jobs, threads or 1, stop, tell)
            else:
                finished = train_here(left, jobs, partial(progress, bar=False, varied=varied), stop, tell)
    except ProcessLostError as lost:
        killed = "processes of this sweep are killed before they save anything"
        click.echo(f"Error: {lost if isinstance(lost, ClusterLostError) else killed}; {again}", err=True)
        raise click.exceptions.Exit(1) from None
    if not finished:
        click.echo(f"interrupted and saved; {again}", err=True)
        raise click.exceptions.Exit(130)


def _report(asked: Sweep) -> None:
    from probact.reports import posterior_file
    from probact.reports.card import summary_of
    from probact.reports.run_report import report
    from probact.reports.swept import swept
    from probact.reports.swept_text import swept_table

    runs, seconds = asked.runs, []
    with telling() as tell:
        for number, run in enumerate(runs, 1):
            summary = None
            with suppress(ValueError):
                posterior_file.load(run.posterior)
                summary = summary_of(run)
            if summary is None:
                tell(f"report {number} of {len(runs)}: {run.folder.name}")
            summary = summary or report(run, tell)
            log_summary(run, summary)
            seconds.append(summary.seconds)
    found = swept(asked.points, [posterior_file.load(run.posterior) for run in runs], seconds)
    click.echo(f"\n{swept_table(found)}")
    write_atomically(asked.folder / "results.json", found.to_json(indent=1) + "\n")
    written = "results.json"
    if is_installed("plots"):
        from probact.reports.style import save_figure, styled
        from probact.reports.swept_figures import what_varies_does

        with styled():
            save_figure(what_varies_does(found), asked.folder / "sweep.png")
        written += ", sweep.png"
    click.echo(f"\nwritten to {asked.folder}: {written}, and a run a folder")
    if len(runs) > 1 and "family" not in asked.varied:
        click.echo(f"next: {command('compare', *(run.folder for run in runs[:2]))}")
