"""``export``: a trained optimizer as one file."""

from __future__ import annotations

from pathlib import Path

import click

from probact.cli.fit import command_line
from probact.cli.options import run_argument


@click.command()
@run_argument
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write, such as nag.pt."
)
@click.option("--seed", type=int, help="Which training, of a run with several.")
@click.option("--card", is_flag=True, help="Write a card beside the file: how it was trained, and what it reaches.")
@click.option("--limits", default="", help="What the card says of its limits.  [default: a gap to be filled]")
def export(folder: Path | None, out: Path, seed: int | None, card: bool, limits: str) -> None:
    """Write a run's optimizer and halting posterior to one file, for LearnedOptimizer.from_pretrained.

    RUN is a folder that `fit` wrote; the latest one when none is named.
    """
    from probact.reports.card import summary_of, trainings_of, write_card
    from probact.runs.run import Run

    run = Run.latest() if folder is None else Run.open(folder)
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
    summary = summary_of(run) if card else {}
    pretrained = chains[seed].trained()
    pretrained.save(out)
    click.echo(f"{out}: {pretrained.describe()}")
    if card:
        trainings = [(chain, command_line(chain.experiment)) for chain in trainings_of(chains[seed])]
        written = write_card(out, pretrained, trainings, summary, limits)
        click.echo(f"{written}: the card{'' if limits else ', whose section on limits is to be written'}")
