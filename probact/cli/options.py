"""Options of the command line: from the fields of ``Experiment``, as KEY=VALUE pairs, or from a TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from probact.cli.advice import PLUGIN_HINT
from probact.problems.data.sets import use_data_directory
from probact.runs.experiment import Experiment
from probact.support.registry import Registry, UnknownPartError

DEFAULTS = {entry.name: entry.default for entry in fields(Experiment)}


def setting(name: str, type_: Any, help_: str) -> Any:
    """An option for the field ``name`` of ``Experiment``, which holds the default."""
    default = DEFAULTS[name]
    shown = f"  [default: {default}]" if default not in ("", None) else ""
    return click.option(f"--{name.replace('_', '-')}", name, type=type_, default=None, help=help_ + shown)


class Names(click.ParamType):  # type: ignore[type-arg]
    """The names of a registry and others, read when they are shown or checked, so that those of plug-ins count."""

    name = "choice"

    def __init__(self, registry: Registry, *others: str) -> None:
        self.registry, self.others = registry, others

    @property
    def choices(self) -> list[str]:
        return [*self.registry, *self.others]

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(self.choices)}]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.others:
            try:
                self.registry[value]
            except UnknownPartError:
                self.fail(f"{self.registry.unknown(value, *self.others)}; {PLUGIN_HINT}", param, ctx)
        return value


def choice(registry: Registry, *others: str) -> Names:
    """The names of a registry, and others."""
    return Names(registry, *others)


def key_values(name: str, help_: str) -> Any:
    """A repeatable option KEY=VALUE ``--name``, read into the parameter ``names`` as a dict."""
    return click.option(f"--{name}", f"{name.replace('-', '_')}s", multiple=True, callback=pairs,
                        metavar="KEY=VALUE", help=help_)  # fmt: skip


def pairs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """KEY=VALUE texts as a dict; dashes in keys become underscores."""
    read = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals:
            raise click.BadParameter(f"expected KEY=VALUE, got {value!r}", context, parameter)
        read[key.replace("-", "_")] = text
    return read


def read_config(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Fill the command's defaults from a TOML file; refuse keys that are not its options."""
    if path is None:
        return
    try:
        given = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path}: not TOML ({error})") from None
    options = [option for option in context.command.params if option.name not in ("config", "resume")]
    known = {option.opts[0].removeprefix("--"): option for option in options}
    values: dict[str, Any] = {}
    for key, value in given.items():
        option = known.get(key.replace("_", "-"))
        if option is None or option.name is None:
            raise click.BadParameter(f"{path}: unknown key {key!r}: choose from {', '.join(known)}")
        if isinstance(value, dict):
            value = [f"{entry}={text}" for entry, text in value.items()]
        if getattr(option, "multiple", False) and not isinstance(value, list):
            value = [value]
        values[option.name] = value
    context.default_map = {**(context.default_map or {}), **values}


def run_argument(function: Any) -> Any:
    """The argument [RUN] of a command, its ``folder``: None is the latest run."""
    return click.argument("folder", metavar="[RUN]", required=False, type=click.Path(path_type=Path))(function)


def _use_data_directory(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        use_data_directory(value)


def data_directory_option(function: Any) -> Any:
    """``--data-dir``: where a command's data sets lie."""
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        callback=_use_data_directory,
        is_eager=True,
        expose_value=False,
        help="Where MNIST, Fashion-MNIST and CIFAR-10 lie or are downloaded to.  "
        "[default: PROBACT_DATA_DIR, or else the user's cache]",
    )(function)


def check_device(name: str) -> None:
    """Refuse a device that this machine lacks."""
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise click.UsageError(f"device {name!r} cannot be used: {str(error).partition('.')[0]}") from None
