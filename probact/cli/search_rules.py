"""``search-rules``: let a controller write update rules, and try each on small networks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from probact.cli.advice import command
from probact.cli.options import Place, data_directory_option
from probact.cli.progress import telling
from probact.support.interrupts import asked_to_stop
from probact.support.words import counted

if TYPE_CHECKING:
    from probact.rule_search.search import Search
    from probact.rule_search.settings import Settings

SECONDS_BETWEEN_LINES = 5.0
SHOWN = 3
"""Rules for which the next command is given."""


@click.command("search-rules", short_help="Let a controller write update rules, and try them on small networks.")
@click.option("--controller", default="lstm", show_default=True, help="lstm, random or evolution: who writes rules.")
@click.option("--rules", type=int, default=1000, show_default=True, help="How many rules to try.")
@click.option("--depth", type=int, default=2, show_default=True, help="Groups of five words a rule, 1 to 3.")
@click.option("--child", default="digits", show_default=True, help="Family of the networks that rules are tried on.")
@click.option("--reward", default="accuracy", show_default=True, help="accuracy or loss, on validation rows.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of all random numbers.")
@click.option("--halting", default="none", show_default=True, help="none, median, halving or learned: stops bad rules.")
@click.option(
    "--price",
    type=float,
    default=0.0,
    show_default=True,
    help="Of a rule, in units of the reward: the search stops where more rules are not worth it; 0: never.",
)
@click.option("--out", type=Place(file_okay=False), help="Folder of the search.  [default: runs/rules-CONTROLLER-SEED]")
@click.option("--resume", type=Place(file_okay=False), help="Go on with the search in this folder.")
@data_directory_option
@click.pass_context
def search_rules(context: click.Context, /, out: Path | None, resume: Path | None, **given: Any) -> None:
    """Neural Optimizer Search (Bello et al. 2017): a controller writes update rules as formulas.

    \b
    Every rule trains small networks for an epoch at seven learning rates, then for
    five epochs at the best one; its reward is their validation accuracy.  The best
    eight are tried once more on fresh networks.  Ctrl-C saves; --resume goes on.
    """
    from probact.rule_search.search import Search, search_in
    from probact.rule_search.settings import Settings
    from probact.support.locks import held

    if resume is not None:
        if out is not None:
            raise click.UsageError("expected --out or --resume, got both")
        asked_for = {name: given[name] for name in given if _was_given(context, name)}
        settings, folder = Settings.read(resume).going_on(asked_for), resume
    else:
        settings = Settings(**given)
        folder = out or Path("runs") / f"rules-{settings.controller}-{settings.seed}"
        if (folder / "settings.json").exists():
            again = command("search-rules", "--resume", folder)
            raise click.UsageError(f"{folder}: there is a search already; go on with: {again}")
    search = Search.at(settings, folder) if resume is not None else Search(settings)
    settings.write(folder)
    with held(folder / "lock"), telling() as tell, asked_to_stop("stopping after these rules") as asked:
        tell(f"{folder}: {counted(settings.rules, 'rule')} by {settings.controller}, {len(search.records)} so far")
        if search.controller.note:
            tell(search.controller.note)
        said = time.monotonic()
        for now in search_in(folder, search, asked):
            if time.monotonic() - said >= SECONDS_BETWEEN_LINES:
                said = time.monotonic()
                tell(_line(now))
        if not asked:
            _report(folder, settings, search, tell)
    if asked:
        click.echo(f"interrupted and saved; continue with: {command('search-rules', '--resume', folder)}", err=True)
        raise click.exceptions.Exit(130)


def _was_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is not ParameterSource.DEFAULT


def _line(search: Search) -> str:
    last = search.records[-100:]
    mean = sum(record.reward for record in last) / len(last)
    best = search.best
    at = f"rule {len(search.records)}/{search.settings.rules}"
    return f"{at}  mean reward {mean:.3f}  best {best.reward:.4f}: {best.rule}"


def _report(folder: Path, settings: Settings, search: Search, tell: Any) -> None:
    from probact.reports.rule_search_report import ranked_table, write_report
    from probact.rule_search.ranking import FRESH, rank

    tell(f"the best once more, on fresh networks of {FRESH} seeds")
    ranked = rank(settings, search.records)
    write_report(folder, settings, search.records, ranked)
    tried = len({record.rule for record in search.records})
    why = "another ten rules are not expected to be worth their price" if search.has_paid else "all rules are tried"
    click.echo(f"{counted(len(search.records), 'rule')}, {tried} of them distinct: {why}\n")
    click.echo(ranked_table(ranked))
    click.echo("\nnext, with a halting posterior around the best of them:")
    for one in [one for one in ranked if not one.is_reference][:SHOWN]:
        options = ("--rule-option", f"expr={one.rule}", "--rule-option", f"lr={one.rate:g}", "--prior-nu", 0.95)
        click.echo(f"  {command('fit', '--family', settings.child, '--rule', 'expression', *options)}")
