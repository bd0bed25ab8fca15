"""``prior``: the prior alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from probact.cli.options import Place, setting_option
from probact.reports import text
from probact.runs.experiment import Experiment
from probact.support.extras import install, is_installed


@click.command()
@setting_option("prior_nu", filled=True)
@setting_option("horizon", filled=True)
@setting_option("horizon_prior", filled=True)
@setting_option("horizon_prior_options")
@setting_option("halting_prior", filled=True)
@setting_option("halting_prior_options")
@click.option("--out", type=Place(), default=Path("prior.png"), show_default=True, help="Figure.")
def prior(out: Path, **settings: Any) -> None:
    """Print and draw the prior over horizon T and halting step t, and the price that it charges a step."""
    experiment = Experiment(**settings)
    chosen = experiment.build_prior()
    drawn = f"no figure, for which: {install('plots')}"
    if is_installed("plots"):
        from probact.reports.prior_figure import prior_figure
        from probact.reports.style import save_figure, styled

        log_T, log_t = chosen.log_horizon(), chosen.log_marginal()
        with styled():
            save_figure(prior_figure(experiment.prior_nu, log_T.numpy(), log_t.numpy(), chosen.label), out)
        drawn = f"figure: {out}"
    click.echo(f"{text.prior_table(chosen)}\n\n{drawn}")
