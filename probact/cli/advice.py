"""The next command, as the user would type it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from probact.support.extras import install, is_installed
from probact.support.locks import is_held
from probact.support.missing import MissingError, Thing
from probact.support.plugins import imported_plugins
from probact.support.registry import UnknownPartError
from probact.support.words import counted

if TYPE_CHECKING:
    from probact.runs.run import Run

PLUGIN_HINT = "a plug-in? name its module with --import"
_MAKES: dict[Thing, tuple[str, ...]] = {
    "run": ("fit", "--prior-nu", "0.95"),
    "training": ("fit", "--resume", "{folder}"),
    "report": ("fit", "--resume", "{folder}"),
    "exported file": ("export", "{folder}", "--out", "{folder}.pt"),
}


def program() -> str:
    """How this program was called."""
    called = {"cli.py": "python cli.py", "__main__.py": "python -m probact"}
    return called.get(Path(sys.argv[0]).name, "probact")


def plugin_hint(error: UnknownPartError) -> str:
    """What to do about a name that no part has: this command again, with the modules that are known to have it."""
    if not error.modules:
        return PLUGIN_HINT
    added = (word for module in error.modules for word in ("--import", module))
    again = f"{program()} {shlex.join((*added, *sys.argv[1:]))}"
    return f"no file of a run is a reason to run code; if it is yours: {again}"


def command(*words: object) -> str:
    """A command of this program, with the plug-ins that this one was given."""
    plugins = (word for module in imported_plugins() for word in ("--import", module))
    return f"{program()} {shlex.join(map(str, (*plugins, *words)))}"


def how_to_make(missing: MissingError) -> str:
    """The command that makes what is missing."""
    return command(*(word.format(folder=missing.folder) for word in _MAKES[missing.thing]))


def how_far(missing: MissingError) -> str:
    """How far the training has come whose report is missing, ``training stopped at 3 of 10 meta-steps: ``.

    Of several seeds that of the first that is not done; empty where all are, or nothing is known.
    """
    if missing.thing != "report" or missing.folder is None:
        return ""
    from probact.runs.run import Run

    with suppress(ValueError, OSError):
        for chain in (run := Run.open(missing.folder)).chains:
            records, asked = chain.records() if chain.metrics.exists() else [], chain.experiment.meta_steps
            made = records[-1]["step"] if records else 0
            if made < asked:
                one = f" (seed {chain.experiment.seed})" if len(run.chains) > 1 else ""
                at = "is still at" if is_held(chain.lock) else "stopped at"
                return f"training {at} {made:,} of {counted(asked, 'meta-step', form=',')}{one}: "
    return ""


def figures_in(folder: Path) -> str:
    """How many figures were drawn to ``folder``, or how to get some."""
    if not is_installed("plots"):
        return f"no figures, for which: {install('plots')}"
    return counted(len(list(folder.iterdir())), "figure")


def failures(run: Run) -> Iterator[str]:
    """A line for each training that skipped most of its updates: it is near the untrained rule."""
    for label, records in run.records().items():
        end = records[-1] if records else {"step": 0, "skipped": 0}
        updates = end.get("updates", end["step"])
        if 2 * end["skipped"] > updates:
            yield (
                f"{label}: training failed: {end['skipped']} of {updates} updates were skipped, because no problem of "
                f"their batches had a finite objective and gradient (rule {run.experiment.rule!r}, family "
                f"{run.experiment.family!r})"
            )
