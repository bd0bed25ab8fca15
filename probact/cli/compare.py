"""``compare``: runs side by side, on the same held-out problems."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from probact.cli.options import Declared, Place
from probact.runs.settings import Setting
from probact.support.extras import install, is_installed


@click.command()
@click.argument("folders", metavar="RUN RUN...", nargs=-1, required=True, type=Place())
@click.option(
    "--price",
    type=Declared(Setting(1.0, above=0)),
    help="What a step costs, in nats, for all runs alike.  [default: that of the first run]",
)
@click.option("--out", type=Place(file_okay=False), help="Where comparison.json and the figure go.  [default: nowhere]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
def compare(folders: tuple[Path, ...], price: float | None, out: Path | None, as_json: bool) -> None:
    """Compare runs on the same held-out problems: loss and cost at their own stops, halting, evidence, gaps, seconds.

    Each RUN is a folder that `fit` wrote, all of the same family and options.  Differences are problem by problem;
    evidence is compared by ArviZ.  Nothing is trained or unrolled again.
    """
    from probact.reports import posterior_file
    from probact.reports.card import summary_of
    from probact.reports.compared_text import compared_table
    from probact.reports.runs_compared import compared
    from probact.runs.run import Run
    from probact.support.files import check_writable, write_atomically

    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise click.UsageError(f"expected two different runs or more, got {', '.join(map(str, folders))}")
    runs = {str(folder): Run.open(folder) for folder in folders}
    if out is not None:
        check_writable(out / "comparison.json")
    trees = {name: posterior_file.load(run.posterior) for name, run in runs.items()}
    seconds = {}
    for name, run in runs.items():
        with suppress(ValueError):  # nothing but its seconds is in there
            seconds[name] = summary_of(run).seconds
    found = compared(trees, price, seconds)
    click.echo(found.to_json() if as_json else compared_table(found))
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "comparison.json", found.to_json(indent=1) + "\n")
    written = "comparison.json"
    if is_installed("plots"):
        from probact.reports.compared_figures import losses_and_costs
        from probact.reports.style import save_figure, styled

        with styled():
            save_figure(losses_and_costs(trees, found), out / "comparison.png")
        written += ", comparison.png"
    else:
        written += f", no figure, for which: {install('plots')}"
    if not as_json:
        click.echo(f"\nwritten to {out}: {written}")
