"""``list``: every name the other commands take."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import starmap
from typing import Any

import click

from probact.inference.objectives.base import OBJECTIVES
from probact.inference.objectives.estimators import ESTIMATORS
from probact.inference.posteriors.base import NO_HALTING, POSTERIORS
from probact.inference.prior_parts import HALTING_PRIORS, HORIZON_PRIORS
from probact.problems.base import FAMILIES
from probact.reports.columns import WIDTH
from probact.rules.base import RULES
from probact.runs.experiment import SETTINGS
from probact.stopping.base import STOP_RULES
from probact.support.registry import Registry

_PROBES: dict[type, Any] = {int: math.nan, float: math.nan, str: "?", bool: None, tuple: None}
"""Type of an option -> what no class takes for one; None where there is nothing to ask."""


@click.command("list", short_help="Name every family, rule, posterior, prior, stop rule, controller, ...")
def list_() -> None:
    """Name every family, rule, halting posterior, objective, estimator, prior, stop rule, controller and shipped
    optimizer.

    With the options of each (--family-option, --rule-option, --objective-option), their defaults and ranges.
    """
    import probact.stopping  # noqa: F401 - fills STOP_RULES
    from probact.rule_search.controllers.base import CONTROLLERS
    from probact.rule_search.halting import HALTINGS
    from probact.runs.trained import TrainedOptimizer, shipped

    without_options: tuple[Registry[Any], ...] = (CONTROLLERS, HALTINGS)
    for title, registry in (
        ("families (--family)", FAMILIES),
        ("rules (--rule)", RULES),
        ("halting posteriors (--halting)", POSTERIORS),
        ("objectives (--objective)", OBJECTIVES),
        ("estimators of the ELBO (--estimator)", ESTIMATORS),
        ("priors of the horizon, p(T) (--horizon-prior)", HORIZON_PRIORS),
        ("priors of the halting step, p(t|T) (--halting-prior)", HALTING_PRIORS),
        ("stop rules (evaluate)", STOP_RULES),
        ("controllers (search-rules --controller)", CONTROLLERS),
        ("halting of rules (search-rules --halting)", HALTINGS),
    ):
        click.echo(click.style(title, bold=True))
        for name in registry:
            click.echo(f"  {name:22}{registry.describe(name)}")
            recommended = getattr(registry[name], "recommended", {})
            if recommended:
                click.echo(f"  {'':22}recommends {', '.join(starmap(_setting, recommended.items()))}")
            if registry not in without_options and (options := [*_options(registry, name)]):
                click.echo(_wrapped("options", options))
        if registry is POSTERIORS:
            click.echo(f"  {NO_HALTING:22}No halting: learning to optimize alone, by the sum of losses.")
        click.echo()
    if names := shipped():
        click.echo(
            click.style("shipped optimizers (LearnedOptimizer.from_pretrained, fit --begin-with, evaluate)", bold=True)
        )
        for name in names:
            click.echo(f"  {name:22}{TrainedOptimizer.load_named(name).describe()}")


def _wrapped(title: str, entries: Sequence[str]) -> str:
    """Entries are kept in one line each."""
    joined = ", ".join(entry.replace(" ", "\0") for entry in entries)
    indent = " " * 22
    filled = textwrap.fill(
        f"{title} {joined}",
        WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled.replace("\0", " ")


def _options(registry: Registry[Any], name: str) -> Iterator[str]:
    """``dim=10 (>= 1)``: the options that are no settings of their own, with default and range."""
    for key, default in registry.keywords(name).items():
        if type(default) in _PROBES and not (registry is OBJECTIVES and key in SETTINGS):
            shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
            yield f"{key}={shown}{_range(registry, name, key, default)}"


def _range(registry: Registry[Any], name: str, key: str, default: Any) -> str:
    """What the class expects of the option, in its own words: it is given what is within no range."""
    if (probe := _PROBES[type(default)]) is None:
        return ""
    try:
        registry.build(name, {key: probe})
    except (OSError, ValueError) as error:
        found = re.search(rf"(?:expected {key} |choose from )(.*?)(?:, got .*)?$", str(error))
        return f" ({found[1]})" if found else ""
    return ""


def _setting(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name.removesuffix('s').replace('_', '-')} {key}={entry}" for key, entry in value.items())
    return f"{name.replace('_', '-')} {value}"
