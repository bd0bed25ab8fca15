"""``report``: a run, or several, as one HTML page."""

from __future__ import annotations

import shlex
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from probact.cli.advice import command
from probact.cli.fit import command_line
from probact.cli.options import Place

if TYPE_CHECKING:
    from probact.reports.page.run_section import Reported
    from probact.runs.run import Run


@click.command()
@click.argument("folders", metavar="[RUN...]", nargs=-1, type=Place())
@click.option("--out", type=Place(dir_okay=False), help="The page to write.  [default: RUN/report.html]")
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
def report(folders: tuple[Path, ...], out: Path | None, show: bool) -> None:
    """Write one HTML page of a run: what was asked, what came out, figures to walk through, what to doubt.

    RUN is a folder that `fit` wrote; the latest one when none is named.  Of several runs the page sets them side by
    side first, and is written to the first one's folder.  It reads the runs' files, trains nothing, and needs no
    network to be read.
    """
    from probact.reports.page.page import page
    from probact.runs.run import Run
    from probact.support.files import check_writable, write_atomically

    if len({folder.resolve() for folder in folders}) < len(folders):
        raise click.UsageError(f"expected different runs, got {', '.join(map(str, folders))}")
    if out is not None and out.suffix not in (".html", ".htm"):
        raise click.UsageError(f"--out: expected a name that ends in .html, got {out}")
    runs = [Run.open(folder) for folder in folders] or [Run.latest()]
    place = out or runs[0].folder / "report.html"
    check_writable(place)
    text = page([_read(run) for run in runs])
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(place, text)
    click.echo(f"written to {place}: {len(text.encode()) / 1e6:.1f} MB, opens in any browser")
    if show and not webbrowser.open(place.resolve().as_uri()):
        click.echo("no browser was found to open it", err=True)


def _read(run: Run) -> Reported:
    """:raises ValueError: if it is not finished, or a file of it is damaged."""
    from probact.reports import posterior_file
    from probact.reports.card import summary_of
    from probact.reports.page.run_section import Reported

    return Reported(
        name=str(_named(run.folder)),
        tree=posterior_file.load(run.posterior),
        records=run.records(),
        summary=summary_of(run),
        commands=_commands(run),
        config=(run.folder / "experiment.json").read_text(),
        own_price=_own_price(run),
    )


def _own_price(run: Run) -> float:
    """Of a step, asked for or the family's own, in the unit of its values; 0 where it has none."""
    from probact.problems.base import FAMILIES

    family = FAMILIES[run.experiment.family]
    return float(run.experiment.price or getattr(family, "price", 0.0)) if family.has_unit else 0.0


def _named(folder: Path) -> Path:
    """Without where this directory lies, if it is in there."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _commands(run: Run) -> dict[str, str]:
    folder = _named(run.folder)
    words = shlex.split(command_line(replace(run.experiment, seed=run.seeds[0])))[2:]
    if len(run.seeds) > 1:
        in_turn = tuple(range(run.seeds[0], run.seeds[0] + len(run.seeds)))
        others = (word for seed in run.seeds[1:] for word in ("--seed", str(seed)))
        first = () if run.seeds[0] else ("--seed", "0")
        words += ("--chains", str(len(run.seeds))) if run.seeds == in_turn else (*first, *others)
    return {
        "The run:": command(*words),
        "How it halts on other fresh problems:": command("halt-stats", folder, "--seed", "1"),
        "Beside every tuned baseline:": command("evaluate", folder),
        "This page again:": command("report", folder),
    }
