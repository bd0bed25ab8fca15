"""``evaluate --curves``: every way to stop on recorded training curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from probact.cli.advice import figures_in
from probact.cli.options import Place
from probact.cli.progress import telling

if TYPE_CHECKING:
    from probact.curves.corpus import Curves

OWN = ("curves", "price", "relative_price", "tune_on", "monitor")
"""Options of ``evaluate`` for curves alone."""
CURVES_OPTIONS = (*OWN, "out", "as_json")
"""All that ``--curves`` goes with."""
HEAD = "curves"
"""The shipped head, which is judged where no other is named."""


def _prices(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[float, ...]:
    value = ",".join(given)
    try:
        found = [float(item) for item in value.split(",")] if given else []
    except ValueError:
        found = [0.0]
    if any(not 0 < price < float("inf") for price in found):
        raise click.BadParameter(f"expected prices > 0 like 1e-3,1e-2, got {value!r}", context, parameter)
    return tuple(dict.fromkeys(found))


_OPTIONS = (
    click.option(
        "--curves",
        metavar="FILE_OR_FOLDER",
        type=Place(),
        multiple=True,
        help="Judge ways to stop on these training curves in place of runs; repeat it for more.",
    ),
    click.option(
        "--price",
        metavar="PRICES",
        multiple=True,
        callback=_prices,
        help="Of a look at a curve, in units of its loss: one or several with commas, or repeated.",
    ),
    click.option(
        "--relative-price",
        metavar="PRICES",
        multiple=True,
        callback=_prices,
        help="The same, as shares of the curve's first loss.",
    ),
    click.option(
        "--tune-on",
        metavar="FILE_OR_FOLDER",
        type=Place(),
        multiple=True,
        help="Curves of other data sets, on which rules are tuned.  [default: for each data set the other --curves]",
    ),
    click.option(
        "--monitor",
        metavar="NAME_OR_FILE",
        multiple=True,
        help=f"A learned head, repeat it for more; none for no head.  [default: {HEAD}]",
    ),
)


def curves_options(function: Any) -> Any:
    """The options of ``evaluate`` for training curves."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def asks_for_curves(context: click.Context) -> bool:
    """Whether training curves are to be judged.

    :raises click.UsageError: if options for curves and for runs are mixed.
    """
    given = [
        parameter
        for parameter in context.command.params
        if context.get_parameter_source(parameter.name or "") is not ParameterSource.DEFAULT
    ]
    on_curves = bool(context.params["curves"])
    for parameter in given:
        if on_curves and parameter.name not in CURVES_OPTIONS:
            raise click.UsageError(f"{_spelled(parameter)} is not for --curves, which judges no run")
        if not on_curves and parameter.name in OWN:
            raise click.UsageError(f"{_spelled(parameter)} goes with --curves, got none")
    return on_curves


def _spelled(parameter: click.Parameter) -> str:
    return parameter.opts[0] if isinstance(parameter, click.Option) else "a run"


def evaluate_curves(
    curves: Sequence[Path],
    price: Sequence[float],
    relative_price: Sequence[float],
    tune_on: Sequence[Path],
    monitor: Sequence[str],
    out: Path | None,
    as_json: bool,
) -> None:
    """Judge, write curves.json and figures, and show the tables."""
    from probact.judging.curves.evaluation import evaluate_curves as judge
    from probact.judging.curves.learned import Head
    from probact.judging.curves.prices import Price
    from probact.reports.curves_report import write
    from probact.reports.curves_text import curves_tables
    from probact.runs.run import RUNS
    from probact.support.files import check_writable

    prices = [*map(Price, price), *(Price(value, True) for value in relative_price)]
    if not prices:
        raise click.UsageError("expected a price of a look: --price in units of the loss, or --relative-price")
    heads = [Head.of(name) for name in (monitor or (HEAD,)) if name != "none"]
    sets, others = read_curves(curves), read_curves(tune_on)
    folder = out or RUNS / "evaluation-curves"
    check_writable(folder / "curves.json")
    with telling() as tell:
        result = judge(sets, prices, others, heads, tell=lambda way: tell(f"ways to stop: {way}"))
    write(result, folder)
    if as_json:
        click.echo(result.to_json())
        return
    click.echo(curves_tables(result))
    click.echo(f"\nwritten to {folder}: curves.json, {figures_in(folder / 'figures')}")


def read_curves(places: Sequence[Path]) -> list[Curves]:
    """Those of files, and of all files of folders.

    :raises ValueError: if a file holds no curves, or a folder no file of them.
    """
    from probact.curves.corpus import Curves, load_folder

    return [curves for place in places for curves in (load_folder(place) if place.is_dir() else [Curves.load(place)])]
