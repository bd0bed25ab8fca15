"""The command line: the group of commands, and how a mistake in the input ends."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import click

import probact
from probact.cli.advice import command, how_far, how_to_make, plugin_hint, program
from probact.cli.commands import Commands
from probact.support.extras import remedy
from probact.support.interrupts import asked_to_stop
from probact.support.lost import ClusterLostError
from probact.support.missing import MissingError
from probact.support.plugins import import_plugins
from probact.support.registry import UnknownPartError
from probact.support.words import in_one_line

if TYPE_CHECKING:
    from probact.support.ranks import Ranks


def main() -> NoReturn:
    """Run a command; a mistake in the input becomes one line on stderr and exit code 2.

    Under torchrun rank 0 runs it, and the others follow when it trains.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        sys.exit(_run())
    from probact.support.ranks import join

    ranks = join()
    ranks.exit(_run(ranks) if ranks.is_main else _serve(ranks))


def _run(ranks: Ranks | None = None) -> int:
    try:
        code = cli.main(prog_name=program(), standalone_mode=False, obj=ranks) or 0
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        code = 130
    except click.ClickException as error:
        _complain(error.format_message())
        code = 2
    except OSError as error:
        _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        code = 2
    except UnknownPartError as error:
        _complain(f"{error}; {plugin_hint(error)}")
        code = 2
    except MissingError as error:
        _complain(f"{how_far(error)}{error}; make it with: {how_to_make(error)}")
        code = 2
    except ValueError as error:
        _complain(str(error))
        code = 2
    except ImportError as error:
        if (message := remedy(error)) is None:
            raise
        _complain(message)
        code = 2
    except ClusterLostError as error:
        _complain(f"{error}: the same command goes on")
        code = 1
    except (MemoryError, RuntimeError) as error:
        from probact.support.refusals import is_lack_of_memory

        if not is_lack_of_memory(error):
            raise
        _complain(f"not enough memory: {in_one_line(error)}")
        code = 2
    if code == 0 and ranks is not None:
        ranks.dismiss()
    return int(code)


def _serve(ranks: Ranks) -> int:
    from probact.support.lost import MainLostError, ProcessLostError
    from probact.training.loop import train_as_rank

    with asked_to_stop(patient=True) as ranks.asked:
        try:
            train_as_rank(ranks)
        except MainLostError as lost:
            if ranks.rank == 1:  # of those that are left one speaks
                again = command("fit", "--resume", lost)
                _complain(f"process 0 of this run was lost; continue from its last checkpoint with: {again}")
            return 2
        except ValueError:
            with suppress(ProcessLostError):
                ranks.broadcast()  # rank 0 has found the same mistake: it is to speak before any process ends
            return 2
        except ProcessLostError:
            return 2  # rank 0 says what went wrong, if it can
    return 0


def _complain(message: str) -> None:
    with suppress(OSError):  # the terminal is gone
        click.echo(f"Error: {' '.join(message.split())}", err=True)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]},
)
@click.version_option(probact.__version__, prog_name="probact")
@click.option(
    "--import",
    "plugins",
    metavar="MODULE",
    multiple=True,
    envvar="PROBACT_IMPORT",
    show_envvar=True,
    help="A module of yours, or a .py file, that registers a family, a rule or another part; before the command.",
)
@click.pass_context
def cli(context: click.Context, /, plugins: tuple[str, ...]) -> None:
    """probact: learned optimizers that know when to stop."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)
    if context.invoked_subcommand != "fit" and context.obj is not None and not context.obj.alone:
        raise click.UsageError(f"torchrun is for fit: start {context.invoked_subcommand} without it")
    for module in import_plugins(plugins):
        click.echo(f"import {module}: registers no part, as @probact.FAMILIES.register('name') does", err=True)
