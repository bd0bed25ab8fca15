"""``list``: every name the other commands take."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import starmap
from typing import Any

import click

from probact.inference.objectives.base import OBJECTIVES
from probact.inference.objectives.estimators import ESTIMATORS
from probact.inference.posteriors.base import NO_HALTING, POSTERIORS
from probact.problems.base import FAMILIES
from probact.rules.base import RULES
from probact.stopping.base import STOP_RULES


@click.command("list")
def list_() -> None:
    """Name every family, rule, halting posterior, objective, estimator, stop rule and shipped optimizer."""
    import probact.stopping  # noqa: F401 - fills STOP_RULES
    from probact.runs.trained import TrainedOptimizer, shipped

    for title, registry in (
        ("families (--family)", FAMILIES),
        ("rules (--rule)", RULES),
        ("halting posteriors (--halting)", POSTERIORS),
        ("objectives (--objective)", OBJECTIVES),
        ("estimators of the ELBO (--estimator)", ESTIMATORS),
        ("stop rules (evaluate)", STOP_RULES),
    ):
        click.echo(click.style(title, bold=True))
        for name in registry:
            click.echo(f"  {name:20}{registry.describe(name)}")
            recommended = getattr(registry[name], "recommended", {})
            if recommended:
                click.echo(f"  {'':20}recommends {', '.join(starmap(_setting, recommended.items()))}")
        if registry is POSTERIORS:
            click.echo(f"  {NO_HALTING:20}No halting: learning to optimize alone, by the sum of losses.")
        click.echo()
    if names := shipped():
        click.echo(
            click.style("shipped optimizers (LearnedOptimizer.from_pretrained, fit --begin-with, evaluate)", bold=True)
        )
        for name in names:
            click.echo(f"  {name:22}{TrainedOptimizer.load_named(name).describe()}")


def _setting(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name.removesuffix('s').replace('_', '-')} {key}={entry}" for key, entry in value.items())
    return f"{name.replace('_', '-')} {value}"
