"""What writes a training's numbers elsewhere while it goes on, for programs that people watch trainings with.

``metrics.jsonl`` is the one record of a training; its fields, those of ``runs.record.Record``, are the names.
A logger is opened anew whenever a training begins or goes on, is told all records that still count, and then each new
one: so meta-steps that are made again stand there once, however a training was cut off.  Loggers read; they draw no
random numbers of torch's, and one that fails is left out with a word, while the training goes on.
"""

from __future__ import annotations

import json
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from probact.runs.plugins import missing_plugins
from probact.runs.run import Chain, Record
from probact.support.extras import EXTRAS, install
from probact.support.files import write_atomically
from probact.support.registry import Registry, UnknownPartError
from probact.support.words import in_one_line

FILE = "loggers.json"
"""Beside ``experiment.json``: the loggers of a run, so that it goes on with them."""
Numbers = Mapping[str, float]


class Place(NamedTuple):
    """What a logger logs.

    :ivar folder: its own, ``RUN/log`` or ``RUN/seed-<s>/log``; it exists.
    :ivar name: of the training, ``<run> seed <s>``.
    :ivar settings: of the experiment, as in ``experiment.json``.
    """

    folder: Path
    name: str
    settings: Mapping[str, Any]


class Logger(ABC):
    """Subclasses register a name in ``LOGGERS``.  Making one removes what an earlier one of the same place wrote."""

    name: ClassVar[str]
    extra: ClassVar[str] = ""
    """What of ``support.extras`` it needs."""

    def __init__(self, place: Place) -> None:
        self.place = place

    @abstractmethod
    def write(self, step: int, numbers: Numbers) -> None:
        """What meta-step ``step`` measured, from 1; only what it did measure, and finite.  Each step comes once."""

    def finish(self, summary: Numbers) -> None:
        """The numbers of ``summary.json``, once all steps are written."""
        return

    def close(self) -> None:
        """What was written is to be found from now on."""
        return


LOGGERS: Registry[Logger] = Registry("logger", Logger, "probact.loggers")


def check(names: Sequence[str]) -> None:
    """:raises ValueError: if there is no such logger, or if its library is missing: with what to install."""
    for name in names:
        for module in EXTRAS[extra] if (extra := LOGGERS[name].extra) else ():
            found = find_spec(module)
            if found is None or found.origin is None:  # a folder of that name is no library
                raise ValueError(f"--log {name}: {module} is not installed; get it with: {install(extra)}")


def choose(run_folder: Path, names: Sequence[str]) -> None:
    """Let the trainings of a run log to ``names``, also when it goes on."""
    write_atomically(run_folder / FILE, json.dumps({"loggers": [*dict.fromkeys(names)]}) + "\n")


def chosen(run_folder: Path) -> list[str]:
    """:raises ValueError: if the file is damaged."""
    path = run_folder / FILE
    if not path.exists():
        return []
    try:
        return [str(name) for name in json.loads(path.read_text())["loggers"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected the names of loggers, got something else ({in_one_line(error)})") from None


def measured(record: Mapping[str, Any]) -> dict[str, float]:
    """Of a record what is a finite number, apart from its step."""
    return {
        name: value for name, value in record.items() if name != "step" and value is not None and math.isfinite(value)
    }


@contextmanager
def logging_of(chain: Chain) -> Iterator[Callable[[Record], None]]:
    """Within, what it gives is told each record, after those that ``chain`` has already."""
    with _opened(chain) as loggers:
        yield lambda record: _each(loggers, lambda one: one.write(record.step, measured(record._asdict())))


def finish(chain: Chain, summary: Mapping[str, Any]) -> None:
    """Give the loggers of a training that has ended the numbers of its run's summary."""
    numbers = {name: float(value) for name, value in _flat(summary) if math.isfinite(value)}
    with _opened(chain) as loggers:
        _each(loggers, lambda one: one.finish(numbers))


@contextmanager
def _opened(chain: Chain) -> Iterator[list[Logger]]:
    names, loggers = chosen(chain.run_folder), list[Logger]()
    if not names:
        yield loggers
        return
    try:
        check(names)
    except UnknownPartError as error:
        raise error.within(chain.run_folder / FILE, missing_plugins(chain.run_folder)) from None
    folder = chain.folder / "log"
    folder.mkdir(exist_ok=True)
    name = f"{chain.run_folder.resolve().name} seed {chain.experiment.seed}"
    place, records = Place(folder, name, json.loads(chain.experiment.to_json())), chain.records()
    for name in names:
        _guarded(name, lambda kind: loggers.append(kind(place)), LOGGERS[name])
    for record in records:
        _each(loggers, lambda one, of=record: one.write(of["step"], measured(of)))  # type: ignore[misc]
    try:
        yield loggers
    finally:
        _each(loggers, lambda one: one.close())


def _each(loggers: list[Logger], do: Callable[[Logger], None]) -> None:
    """With every logger; those that fail are left out from then on."""
    loggers[:] = [one for one in loggers if _guarded(one.name, do, one)]


def _guarded(name: str, do: Callable[[Any], None], one: Any) -> bool:
    try:
        do(one)
    except Exception as error:  # whatever a logger does, the training goes on
        reason = f"{type(error).__name__}: {in_one_line(error)}"
        logging.getLogger(__name__).warning("log %s failed and is left out: %s", name, reason)
        return False
    return True


def _flat(summary: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """Numbers of a summary, those of its tables as ``name/key``."""
    for name, value in summary.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}/")
        elif isinstance(value, int | float):
            yield f"{before}{name}", float(value)
