"""Options of the command line: made from the settings, as KEY=VALUE pairs, or from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from probact.cli.advice import PLUGIN_HINT
from probact.problems.data.sets import data_directory_is
from probact.runs.experiment import SETTINGS
from probact.runs.settings import Setting
from probact.support.files import expanded
from probact.support.registry import UnknownPartError


class Declared(click.ParamType):  # type: ignore[type-arg]
    """Texts, read and checked as a setting is declared."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.name = setting.json_type

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str | None:
        return f"[{'|'.join(self.setting.choices)}]" if self.setting.choices else None

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self.setting.read(value) if isinstance(value, str) else self.setting.check(value)
        except UnknownPartError as error:
            self.fail(f"{error}; {PLUGIN_HINT}", param, ctx)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in self.setting.choices if name.startswith(incomplete)]


class Place(click.Path):
    """A path; ``~`` is the home directory, also where no shell says so, and an empty text is none."""

    def __init__(self, **given: Any) -> None:
        super().__init__(path_type=Path, **given)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value).strip():
            self.fail("expected a path, got an empty text", param, ctx)
        return super().convert(expanded(value), param, ctx)


def setting_option(name: str, filled: bool = False) -> Any:
    """The option of the field ``name`` of ``Experiment``.

    :param filled: give its default to a command that is not given it, in place of None.
    """
    setting = SETTINGS[name]
    options = setting.options_of(name)
    if setting.kind is dict:
        return key_values(options[0].removeprefix("--"), setting.help)
    notes = [setting.limits, f"default: {setting.default_text}" if setting.default_text else ""]
    shown = "; ".join(note for note in notes if note)
    help_ = f"{setting.help}  [{shown}]" if shown else setting.help
    default = setting.default if filled else None
    if setting.kind is bool:
        return click.option("/".join(options), name, default=default, help=help_)
    if setting.kind is tuple:
        ends = Declared(setting.of_ends())
        return click.option(*options, name, type=ends, nargs=2, metavar="LOW HIGH", default=default, help=help_)
    if setting.several:
        return click.option(*options, f"{name}s", type=Declared(setting), multiple=True, help=help_)
    return click.option(*options, name, type=Declared(setting), default=default, help=help_)


def experiment_options(function: Any, without: Collection[str] = ()) -> Any:
    """An option for every setting, none of them filled, but for those that are named."""
    for name in reversed(SETTINGS):
        function = function if name in without else setting_option(name)(function)
    return function


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


def option_text(value: Any) -> str:
    """A family's or rule's option as ``KEY=VALUE`` has it."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def read_config(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Fill the command's defaults from a TOML file; refuse keys that are not its options, and values of other types."""
    if path is None:
        return
    try:
        given = tomllib.loads(path.read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise click.BadParameter(f"{path}: not TOML ({error})") from None
    options = [option for option in context.command.params if option.name not in ("config", "resume")]
    known = {option.opts[0].removeprefix("--"): option for option in options}
    values: dict[str, Any] = {}
    for key, value in given.items():
        option = known.get(key.replace("_", "-"))
        if option is None or option.name is None:
            raise click.BadParameter(f"{path}: unknown key {key!r}: choose from {', '.join(known)}")
        try:
            values[option.name] = _from_toml(option, value)
        except ValueError as error:
            raise click.BadParameter(f"{path}: {key}: {error}") from None
    context.default_map = {**(context.default_map or {}), **values}


def _from_toml(option: click.Parameter, value: Any) -> Any:
    """``value`` as the command line would have it.

    :raises ValueError: if the option takes no such value.
    """
    setting = _declaration(option)
    if setting.kind is dict:
        return [f"{key}={option_text(entry)}" for key, entry in setting.check(value).items()]
    if not setting.several:
        return setting.check(value)
    return [setting.check(entry) for entry in (value if isinstance(value, list) else [value])]


def _declaration(option: click.Parameter) -> Setting:
    """Of the setting behind an option; of an option that is no setting what click knows of it."""
    if isinstance(option.type, Declared):
        return option.type.setting
    if option.name in SETTINGS:
        return SETTINGS[option.name]
    if isinstance(option.type, _LoggerName):
        return Setting("", several=True)
    return Setting(0, at_least=option.type.min) if isinstance(option.type, click.IntRange) else Setting("path")


def run_argument(function: Any) -> Any:
    """The argument [RUN] of a command, its ``folder``: None is the latest run."""
    return click.argument("folder", metavar="[RUN]", required=False, type=Place())(function)


def prior_nu_option(function: Any) -> Any:
    """``--prior-nu`` of a run that is trained: see ``Run.at``."""
    help_ = "At the price of this nu, one in the run's prior-nu-range.  [default: the run's prior-nu]"
    return click.option("--prior-nu", type=Declared(SETTINGS["prior_nu"]), help=help_)(function)


def threads_option(function: Any) -> Any:
    """``--threads``: see ``support.threads``."""
    return click.option(
        "--threads",
        type=click.IntRange(min=1, max=1024),
        help="Threads of torch.  [default: 1 for small problems, all for large ones]",
    )(function)


class _LoggerName(click.ParamType):  # type: ignore[type-arg]
    """The name of a logger whose library is there."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from probact.training.loggers.base import check

        try:
            check([value])
        except UnknownPartError as error:
            self.fail(f"{error}; {PLUGIN_HINT}", param, ctx)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from probact.training.loggers import base

        return [CompletionItem(name) for name in base.LOGGERS if name.startswith(incomplete)]


def log_option(function: Any) -> Any:
    """``--log``: see ``training.loggers``."""
    return click.option("--log", "loggers", type=_LoggerName(), multiple=True, metavar="NAME",
                        help="Write every meta-step's numbers there as well: csv, tensorboard, wandb-offline or one of "
                        "your own; may be repeated.  See docs/logging.md.")(function)  # fmt: skip


def _use_data_directory(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.with_resource(data_directory_is(value))


def data_directory_option(function: Any) -> Any:
    """``--data-dir``: where a command's data sets lie."""
    return click.option(
        "--data-dir",
        type=Place(),
        callback=_use_data_directory,
        is_eager=True,
        expose_value=False,
        help="Where MNIST, Fashion-MNIST and CIFAR-10 lie or are downloaded to.  "
        "[default: PROBACT_DATA_DIR, or else the user's cache]",
    )(function)
