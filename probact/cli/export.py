"""``export``: a trained optimizer as one file."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from probact.cli.fit import command_line
from probact.cli.options import Place, data_directory_option, prior_nu_option, run_argument
from probact.stopping.base import StopRule

if TYPE_CHECKING:
    from probact.runs.experiment import Experiment
    from probact.runs.trained import TrainedOptimizer

ALONE = ("own", "tuned")


@click.command()
@run_argument
@click.option("--out", type=Place(dir_okay=False), required=True, help="The file to write, such as nag.pt.")
@click.option("--seed", type=click.IntRange(min=0), help="Which training, of a run with several.")
@click.option(
    "--stop",
    metavar="NAME[=THRESHOLD[,OPTION=VALUE]]",
    help="The stop rule that the file's optimizer wears: hazard=0.03; hazard, with the threshold that is best on the "
    "run's tuning problems at its price of a step; own, the best of those that follow its head, as `fit` reports; or "
    "tuned, the best of all rules.  [default: none; such a file stops after 100 steps without a gain to speak of]",
)
@prior_nu_option
@data_directory_option
@click.option("--card", is_flag=True, help="Write a card beside the file: how it was trained, and what it reaches.")
@click.option("--limits", default="", help="What the card says of its limits.  [default: a gap to be filled]")
def export(
    folder: Path | None,
    out: Path,
    seed: int | None,
    stop: str | None,
    prior_nu: float | None,
    card: bool,
    limits: str,
) -> None:
    """Write a run's optimizer and halting posterior to one file, for LearnedOptimizer.from_pretrained.

    RUN is a folder that `fit` wrote; the latest one when none is named.
    """
    from probact.reports.card import summary_of, trainings_of, write_card
    from probact.runs.run import Run
    from probact.support.files import check_writable

    run = (Run.latest() if folder is None else Run.open(folder)).at(prior_nu)
    chains = {chain.experiment.seed: chain for chain in run.chains}
    if seed is None and len(chains) == 1:
        (seed,) = chains
    if seed not in chains:
        choices = ", ".join(map(str, chains))
        raise ValueError(
            f"{run.folder}: expected --seed {choices.replace(', ', ' or ')}, got {'none' if seed is None else seed}"
        )
    if limits and not card:
        raise click.UsageError("--limits: expected --card, to write them in")
    if prior_nu is not None and card:
        raise click.UsageError("--card: expected no --prior-nu beside it: what the run reports is at its own")
    summary = summary_of(run) if card else None
    check_writable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    trained = chains[seed].trained()
    if stop is not None:
        trained = replace(trained, stop=stop_asked_for(stop, trained, chains[seed].experiment))
    trained.save(out)
    click.echo(f"{out}: {trained.describe()}")
    if summary is not None:
        trainings = [(chain, command_line(chain.experiment)) for chain in trainings_of(chains[seed])]
        written = write_card(out, trained, trainings, summary, limits)
        click.echo(f"{written}: the card{'' if limits else ', whose section on limits is to be written'}")


def stop_asked_for(stop: str, trained: TrainedOptimizer, experiment: Experiment) -> StopRule:
    """The rule that ``--stop`` names, at the threshold given or else tuned."""
    from probact.judging.stops import own_kinds, stop_rules, tuned_stop
    from probact.runs.assembly import family_judged
    from probact.support.sight import Sight

    followed = trained.online_posterior is not None
    sees_gradient = trained.rule.sees is Sight.GRADIENT
    told = followed, sees_gradient, trained.rule.is_expecting
    fitting = {kind.name: kind for kind in stop_rules(*told)}
    name = re.split("[=,]", stop)[0]
    if name in ALONE and name != stop:
        raise click.UsageError(f"--stop: {name} has neither threshold nor option: expected it alone, got {stop!r}")
    if name not in fitting and name not in ALONE:
        why = "" if followed else ": there is no halting posterior that other rules could follow"
        raise click.UsageError(f"--stop: expected {', '.join([*fitting, ALONE[0]])} or {ALONE[1]}, got {name!r}{why}")
    if name in fitting and (stop != name or not fitting[name].tunable):
        try:
            return StopRule.read(stop)
        except ValueError as error:
            raise click.UsageError(f"--stop: {error}") from None
    kinds = {"own": own_kinds(*told), "tuned": [*fitting.values()]}.get(name) or [fitting[name]]
    return tuned_stop(trained, replace(family_judged(experiment), device="cpu"), kinds)
