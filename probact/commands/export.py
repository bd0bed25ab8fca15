"""``export``: a trained optimizer as one file."""

from __future__ import annotations

from pathlib import Path

import click

from probact.options import run_argument


@click.command()
@run_argument
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write, such as nag.pt."
)
@click.option("--seed", type=int, help="Which training, of a run with several.")
def export(folder: Path | None, out: Path, seed: int | None) -> None:
    """Write a run's optimizer and halting posterior to one file, for LearnedOptimizer.from_pretrained.

    RUN is a folder that `fit` wrote; the latest one when none is named.
    """
    from probact.runs import Run

    run = Run.latest() if folder is None else Run.open(folder)
    chains = {chain.experiment.seed: chain for chain in run.chains}
    if seed is None and len(chains) == 1:
        (seed,) = chains
    if seed not in chains:
        choices = ", ".join(map(str, chains))
        raise ValueError(
            f"{run.folder}: expected --seed {choices.replace(', ', ' or ')}, got {'none' if seed is None else seed}"
        )
    pretrained = chains[seed].pretrained()
    pretrained.save(out)
    click.echo(f"{out}: {pretrained.describe()}")
