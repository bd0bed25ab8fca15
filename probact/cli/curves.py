"""``curves``: make real training curves, look at them, and train a monitor's head on them."""

from __future__ import annotations

import os
from pathlib import Path

import click

from probact.cli.options import Place, data_directory_option
from probact.cli.progress import telling

SEED = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all random numbers.")


@click.group()
def curves() -> None:
    """Training curves of thousands of small real trainings: what a HaltingMonitor learns from.

    \b
      curves list                              what can be made
      curves make digits-mlp --out my-curves   make some, or all
      curves check my-curves                   are the files whole?
      curves fit my-curves --out my-head.pt    train a head on them
    """


@curves.command()
@click.argument("names", metavar="[SET]...", nargs=-1)
@click.option("--out", type=Place(file_okay=False), required=True, help="Folder for the files, one a set.")
@SEED
@click.option("--count", type=click.IntRange(min=1), default=150, show_default=True, help="Curves a set.")
@click.option("--processes", type=click.IntRange(1, 1024), help="Processes at once.  [default: one a core]")
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help="A Dask scheduler, such as tcp://host:8786, whose workers make the curves; or local, to start one here.",
)
@data_directory_option
def make(names: tuple[str, ...], out: Path, seed: int, count: int, processes: int | None, cluster: str | None) -> None:
    """Train small models and record their losses: one compact file a set in the folder --out.

    SET is a name that `curves list` knows, or `training` or `held-out` for all of those; without one all are made.
    The same command goes on where it was cut off.  The curves do not depend on the number of processes.
    """
    from probact.curves.making import here, in_processes, look_for_data, make as make_curves, on_cluster
    from probact.curves.recipes import chosen

    recipes = chosen(names)
    look_for_data(recipes)
    num = processes or os.cpu_count() or 1
    workers = on_cluster(cluster, num) if cluster else here if num == 1 else in_processes(num)
    with telling() as tell:
        tell(f"{len(recipes)} sets of {count} curves")
        make_curves(recipes, out, seed, count, workers, tell)


@curves.command("list")
@click.argument("folder", metavar="[DIR]", required=False, type=Place(exists=True, file_okay=False))
def list_(folder: Path | None) -> None:
    """Name the sets that can be made; or what is in the files of DIR."""
    from probact.curves.corpus import load_folder
    from probact.curves.data_sets import DATA_SETS
    from probact.curves.kinds import KINDS
    from probact.curves.recipes import RECIPES

    if folder is None:
        for held_out, title in ((False, "training"), (True, "held out: no head is trained on these")):
            click.echo(click.style(title, bold=True))
            for recipe in RECIPES.values():
                if recipe.held_out == held_out:
                    said = f"{DATA_SETS.describe(recipe.data_set)} {KINDS.describe(recipe.kind)}"
                    click.echo(f"  {recipe.name:28}{said}")
        return
    click.echo(f"{'set':28}{'curves':>7}{'looks':>9}{'diverged':>10}{'median fall':>13}  seeds")
    for found in load_folder(folder):
        looks = f"{found.lengths.min()}-{found.lengths.max()}"
        seeds = ", ".join(map(str, sorted({setting["seed"] for setting in found.settings})))
        click.echo(
            f"{found.name:28}{found.num:7}{looks:>9}{found.diverged.mean():10.0%}{found.median_fall:13.0%}  {seeds}"
        )


@curves.command()
@click.argument("folder", metavar="DIR", type=Place(exists=True, file_okay=False))
def check(folder: Path) -> None:
    """Read every file of DIR; exit code 2 and one line if one is damaged."""
    from probact.curves.corpus import load_folder

    found = list(load_folder(folder))
    click.echo(f"{folder}: {len(found)} files, {sum(each.num for each in found)} curves, all whole")
