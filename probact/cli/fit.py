"""``fit``: meta-train an optimizer and its halting posterior."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from probact.cli.advice import command, failures, figures_in
from probact.cli.options import (
    Place,
    data_directory_option,
    experiment_options,
    log_option,
    option_text,
    read_config,
    threads_option,
)
from probact.cli.progress import progress, telling
from probact.reports import text
from probact.runs.experiment import Experiment
from probact.support.devices import check_device
from probact.support.interrupts import asked_to_stop
from probact.support.lost import ProcessLostError
from probact.support.ranks import Ranks
from probact.support.words import counted

if TYPE_CHECKING:
    from probact.reports.run_report import Summary
    from probact.runs.run import Chain, Run
    from probact.runs.trained import TrainedOptimizer


@click.command()
@click.option(
    "--config",
    type=Place(exists=True, dir_okay=False),
    callback=read_config,
    is_eager=True,
    expose_value=False,
    help="TOML file with any of these options as keys (prior-nu = 0.9); the command line wins.",
)
@experiment_options
@click.option("--chains", type=click.IntRange(min=1), help="This many chains, seeds counted up from --seed.")
@data_directory_option
@click.option("--out", type=Place(), help="The run's folder.  [default: runs/<names>-<time>]")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Chains trained at once, a process each."
)
@threads_option
@log_option
@click.option("--resume", type=Place(), help="Continue this run; takes no other option but --jobs, --threads, --log.")
@click.pass_context
def fit(
    context: click.Context,
    /,
    seeds: tuple[int, ...],
    chains: int | None,
    out: Path | None,
    jobs: int,
    threads: int | None,
    loggers: tuple[str, ...],
    resume: Path | None,
    **given: Any,
) -> None:
    """Meta-train an optimizer and its halting posterior, then report.

    Writes experiment.json, checkpoint.pt, metrics.jsonl, posterior.nc, summary.json and figures/*.png to the run's
    folder.  Ctrl-C saves; --resume continues, also after a crash, to the same weights bit for bit, and leaves a run
    that is finished as it is.

    Defaults stand in brackets; a family may recommend its own, which `list` shows.
    """
    from probact.inference.posteriors.base import NO_HALTING
    from probact.reports import figure_guide
    from probact.reports.run_report import report
    from probact.training.loggers.base import choose

    ranks: Ranks = context.obj or Ranks()
    if jobs > 1 and not ranks.alone:
        raise click.UsageError("expected --jobs or torchrun, got both: under torchrun all processes train one chain")
    run = _created(given, seeds, chains, out, ranks) if resume is None else _continued(context, resume)
    if loggers:
        choose(run.folder, loggers)
    settings = run.experiment
    ranks.use_device(settings.device)
    click.echo(_described(run))
    summary = None if resume is None else _reported(run)
    if summary is None:
        _train(run, min(jobs, len(run.chains)), threads, ranks)
        ranks.dismiss()
        with telling() as tell:
            summary = report(run, tell)
        _show(summary)
        click.echo(f"\nwritten to {run.folder}: posterior.nc, summary.json, {figures_in(run.figures)}")
        for line in figure_guide.lines(run.figures.glob("*"), settings.halting != NO_HALTING):
            click.echo(f"  {line}")
        log_summary(run, summary)
    else:
        ranks.dismiss()
        _show(summary)
        click.echo()
        if loggers:
            log_summary(run, summary)
        changed = "nothing was changed but its log" if loggers else "nothing was changed"
        longer = command(*shlex.split(command_line(replace(settings, begin_with=str(run.folder))))[2:])
        click.echo(f"{run.folder} is finished: {changed}.  To train longer, with its weights: {longer}")
    _complain_of_failures(run)
    click.echo(f"next: {command('halt-stats', run.folder)}")
    click.echo(f"or, a page to look through: {command('report', run.folder, '--open')}")


def log_summary(run: Run, summary: Summary) -> None:
    """Give the loggers of every chain the numbers of the run's summary."""
    from probact.training.loggers.base import chosen, finish

    for chain in run.chains:
        finish(chain, vars(summary))
    if names := chosen(run.folder):
        click.echo(f"logged to {', '.join(str(chain.folder / 'log') for chain in run.chains)}: {', '.join(names)}")


def _described(run: Run) -> str:
    settings = run.experiment
    first = "t" if settings.halting_first else "T"
    return (
        f"run {run.folder}: family {settings.family}, rule {settings.rule}, halting {settings.halting}\n"
        f"nu {settings.prior_nu:g}, {settings.horizon_prior} p(T), {settings.halting_prior} p(t|T), {first} first; "
        f"{counted(settings.meta_steps, 'meta-step')} of {counted(settings.batch, 'problem')}, H {settings.horizon}"
    )


def _reported(run: Run) -> Summary | None:
    """The summary of a run that has made all its meta-steps and whose report is there and whole; else None."""
    from probact.reports import posterior_file
    from probact.reports.card import summary_of

    if not all(chain.is_finished for chain in run.chains):
        return None
    with suppress(ValueError):
        posterior_file.load(run.posterior)
        return summary_of(run)
    return None


def _show(summary: Summary) -> None:
    click.echo(f"\n{text.loss_table(summary)}\n\n{text.worth_table(summary)}")
    if note := text.training_note(summary):
        click.echo(f"\n{note}")


def _complain_of_failures(run: Run) -> None:
    """End with exit code 1 if a training skipped most of its updates: what it reports is near the untrained rule."""
    failed = [*failures(run)]
    for line in failed:
        click.echo(f"Error: {line}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


def _was_given(context: click.Context, one: click.Parameter) -> bool:
    return context.get_parameter_source(one.name or "") is not ParameterSource.DEFAULT


def _continued(context: click.Context, folder: Path) -> Run:
    from probact.runs.run import Run

    given = [one for one in context.command.params if _was_given(context, one)]
    if others := [one.opts[0] for one in given if one.name not in {"resume", "jobs", "threads", "loggers"}]:
        raise click.UsageError(f"--resume takes its settings from {folder}/experiment.json: drop {', '.join(others)}")
    run = Run.open(folder, to_train=True)
    run.mark_latest()
    return run


def _created(given: dict[str, Any], seeds: tuple[int, ...], chains: int | None, out: Path | None, ranks: Ranks) -> Run:
    from probact.judging.tuning import with_tuned_rate
    from probact.runs.run import Run, new_folder
    from probact.training.loop import begin, check

    experiment, source = asked_for(given)
    check_device(experiment.device)
    ranks.use_device(experiment.device)
    check(experiment, ranks.num_ranks)
    tuned = with_tuned_rate(experiment)
    if tuned.rule_options != experiment.rule_options:
        click.echo(f"{tuned.rule}: learning rate {tuned.rule_options['lr']:g}, tuned for step {tuned.horizon}")
    if tuned.imitation_lr != experiment.imitation_lr:
        click.echo(f"teacher {tuned.imitate}: learning rate {tuned.imitation_lr:g}, tuned for step {tuned.horizon}")
    run = Run.create(out or new_folder(tuned), tuned, _seeds(seeds, chains), source)
    begin(run.chains[0])
    return run


def asked_for(given: dict[str, Any]) -> tuple[Experiment, TrainedOptimizer | None]:
    """The experiment that the options ask for, and what it begins with.

    Rule and rule options are that one's, but for a rule of which that one is a part; and so is the safeguard unless it
    is asked for or declined.
    """
    chosen = {name: value for name, value in given.items() if value not in (None, {})}
    if not chosen.get("begin_with"):
        return Experiment.create(**chosen), None
    from probact.rules.base import RULES
    from probact.runs.sources import best_of

    source, text = best_of(chosen["begin_with"]), chosen["begin_with"]
    chosen = {"safeguard": source.safeguard, **chosen}
    if (rule := chosen.get("rule", source.rule.name)) != source.rule.name:
        if source.rule.name not in RULES.build(rule, chosen.get("rule_options")).parts:
            raise click.UsageError(f"--rule {rule}: expected {source.rule.name}, the rule of {text}")
        return Experiment.create(**chosen), source
    if "rule_options" in chosen:
        raise click.UsageError(f"--rule-option: {text} has its own: drop {', '.join(chosen['rule_options'])}")
    return Experiment.create(**{**chosen, "rule": rule, "rule_options": dict(source.options)}), source


def command_line(experiment: Experiment) -> str:
    """The ``fit`` that makes ``experiment``, with the settings that neither a default nor the family says."""
    from probact.rules.base import RULES

    options = {option.name: option for option in fit.params}
    given = experiment.given()
    if experiment.begin_with:
        made_of_others = bool(RULES.build(experiment.rule, experiment.rule_options).parts)
        of_source = ("safeguard",) if made_of_others else ("rule", "rule_options", "safeguard")
        given = {name: value for name, value in given.items() if name not in of_source}
        given["safeguard"] = experiment.safeguard
    words = ["python", "cli.py", "fit"]
    for name, value in given.items():
        option = options["seeds" if name == "seed" else name]
        if isinstance(value, bool):
            words += option.opts if value else option.secondary_opts
        elif isinstance(value, Mapping):
            words += [word for key, entry in value.items() for word in (option.opts[0], f"{key}={option_text(entry)}")]
        else:
            words += [option.opts[0], *map(str, value if isinstance(value, tuple) else (value,))]
    return shlex.join(words)


def _seeds(seeds: tuple[int, ...], chains: int | None) -> tuple[int, ...]:
    seeds = seeds or (0,)
    if len(set(seeds)) < len(seeds):
        raise click.UsageError(f"expected different seeds, got {', '.join(map(str, seeds))}")
    if chains is None:
        return seeds
    if len(seeds) > 1:
        raise click.UsageError("expected --chains or a repeated --seed, got both")
    return tuple(range(seeds[0], seeds[0] + chains))


def _train(run: Run, jobs: int, threads: int | None, ranks: Ranks) -> None:
    """Train every chain; when that ends early, say how to continue."""
    from probact.runs.assembly import num_coordinates
    from probact.support.threads import use_threads

    click.echo(f"threads: {use_threads(num_coordinates(run.experiment), threads)} of {os.cpu_count()} (--threads)")
    again = f"continue with: {command('fit', '--resume', run.folder)}"
    try:
        once_more = "; once more: at once, and back to the last checkpoint" if ranks.alone else ""
        with asked_to_stop(f"stopping after this meta-step{once_more}", patient=not ranks.alone) as asked:
            ranks.asked = asked
            finished = _train_chains(run.chains, jobs, ranks, asked)
    except ProcessLostError:
        click.echo(f"Error: a process of this run was lost; saved; {again}", err=True)
        raise click.exceptions.Exit(1) from None
    if not finished:
        click.echo(f"interrupted and saved; {again}", err=True)
        ranks.dismiss()
        raise click.exceptions.Exit(130)


def _train_chains(chains: Sequence[Chain], jobs: int, ranks: Ranks, asked: Sequence[int]) -> bool:
    from probact.training.loop import train
    from probact.training.side_by_side import train_side_by_side

    if jobs > 1:
        return train_side_by_side(chains, jobs, partial(progress, bar=False), asked)
    for chain in chains:
        with progress(chain.experiment) as on_record:
            if not train(chain, on_record, ranks.should_stop, ranks):
                return False
    return True
