"""``curves``: make real training curves, look at them, and train a monitor's head on them."""

from __future__ import annotations

import math
import os
from collections import deque
from pathlib import Path

import click

from probact.cli.advice import command
from probact.cli.options import Place, data_directory_option
from probact.cli.progress import telling
from probact.support.words import counted

SEED = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all random numbers.")


@click.group(invoke_without_command=True, subcommand_metavar="COMMAND [ARGS]...")
@click.pass_context
def curves(context: click.Context) -> None:
    """Training curves of thousands of small real trainings: what a HaltingMonitor learns from.

    \b
      curves list                              what can be made
      curves make digits-mlp --out my-curves   make some, or all
      curves check my-curves                   are the files whole?
      curves fit my-curves --out my-head.pt    train a head on them
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)


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
        tell(f"{counted(count, 'curve')} of each set: {', '.join(recipe.name for recipe in recipes)}")
        make_curves(recipes, out, seed, count, workers, tell)
    click.echo(f"{out}: {counted(len(recipes), 'file')}")


@curves.command("list")
@click.argument("folder", metavar="[DIR]", required=False, type=Place(exists=True, file_okay=False))
def list_(folder: Path | None) -> None:
    """Name the sets that can be made; or say what is in the files of DIR."""
    from probact.curves.corpus import load_folder
    from probact.curves.data_sets.base import DATA_SETS, HELD_OUT
    from probact.curves.kinds import KINDS
    from probact.curves.recipes import RECIPES

    if folder is None:
        click.echo("A set is a data set and a kind of model that learns it, such as digits-mlp.")
        for held_out, title in ((False, "data sets"), (True, "data sets held out: no head is trained on these")):
            click.echo(f"\n{click.style(title, bold=True)}")
            for name in DATA_SETS:
                if (name in HELD_OUT) == held_out:
                    click.echo(f"  {name:18}{DATA_SETS.describe(name)}")
                    fitting = [recipe.kind for recipe in RECIPES.values() if recipe.data_set == name]
                    click.echo(f"  {'':18}with {', '.join(fitting)}")
        click.echo(f"\n{click.style('kinds of models', bold=True)}")
        for name in KINDS:
            click.echo(f"  {name:18}{KINDS.describe(name)}")
        return
    click.echo(f"{'set':28}{'curves':>7}{'looks':>9}{'diverged':>10}{'median fall':>13}  seeds")
    for found in load_folder(folder):
        looks = f"{found.lengths.min()}-{found.lengths.max()}"
        fall = f"{found.median_fall:.0%}" if math.isfinite(found.median_fall) else "-"
        seeds = ", ".join(map(str, found.seeds)) or "-"
        click.echo(f"{found.name:28}{found.num:7}{looks:>9}{found.diverged.mean():10.0%}{fall:>13}  {seeds}")


@curves.command()
@click.argument("folder", metavar="DIR", type=Place(exists=True, file_okay=False))
def check(folder: Path) -> None:
    """Read every file of DIR; exit code 2 and one line if one is damaged."""
    from probact.curves.corpus import load_folder

    found = list(load_folder(folder))
    click.echo(
        f"{folder}: {counted(len(found), 'file')}, {counted(sum(each.num for each in found), 'curve')}, all whole"
    )


@curves.command()
@click.argument("folder", metavar="DIR", type=Place(exists=True, file_okay=False))
@click.option("--out", type=Place(dir_okay=False), required=True, help="The file to write, such as my-head.pt.")
@SEED
@click.option("--updates", type=click.IntRange(1, 10**6), default=3000, show_default=True, help="Steps of Adam.")
def fit(folder: Path, out: Path, seed: int, updates: int) -> None:
    """Train the head of a HaltingMonitor on the curves in DIR.

    Held-out sets are left out.  Ctrl-C writes the head as it is then.
    """
    from probact.curves.corpus import load_folder
    from probact.support.files import check_writable
    from probact.support.interrupts import asked_to_stop
    from probact.training.on_corpus import examples_of, for_training
    from probact.training.on_curves import train_head

    kept, left_out = for_training(load_folder(folder))
    examples = examples_of(kept, seed)
    check_writable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    if left_out:
        click.echo(f"left out, for judging: {', '.join(left_out)}", err=True)
    with telling() as tell, asked_to_stop("stopping after this update") as asked:
        tell(f"{counted(sum(each.num for each in kept), 'curve')} of {counted(len(kept), 'set')}")
        losses: deque[float] = deque(maxlen=100)
        for update, loss, head in train_head(examples, seed, updates):  # noqa: B007
            losses.append(loss)
            if update % 100 == 0:
                tell(f"update {update}/{updates}  loss {sum(losses) / len(losses):.4f} of the possible gain")
            if asked:
                break
    said = {
        "command": command("curves", "fit", folder, "--out", out, "--seed", seed, "--updates", updates),
        "updates": str(update),
        "sets": ", ".join(each.name for each in kept),
        "curves": str(sum(each.num for each in kept)),
    }
    head.save(out, said)
    click.echo(f'{out}: probact.HaltingMonitor(price=..., name="{out}") reads it')
