"""``prior``: the prior alone."""

from __future__ import annotations

from pathlib import Path

import click

from probact.cli.options import DEFAULTS
from probact.inference.priors import Prior
from probact.reports import text


@click.command()
@click.option(
    "--prior-nu", type=float, default=DEFAULTS["prior_nu"], show_default=True, help="Probability to continue."
)
@click.option("--horizon", type=int, default=DEFAULTS["horizon"], show_default=True, help="H, the cap on T and t.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("prior.png"), show_default=True, help="Figure.")
def prior(prior_nu: float, horizon: int, out: Path) -> None:
    """Print and draw the prior over horizon T and halting step t."""
    from matplotlib import rc_context

    from probact.reports import halting_figures

    chosen = Prior(prior_nu, horizon)
    click.echo(text.prior_table(chosen))
    log_T, log_t = chosen.log_horizon(), chosen.log_marginal()
    with rc_context(halting_figures.STYLE):
        halting_figures.save_figure(halting_figures.prior_figure(prior_nu, log_T.numpy(), log_t.numpy()), out)
    click.echo(f"\nfigure: {out}")
