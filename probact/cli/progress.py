"""How a command shows where it is: never more than ten seconds of silence."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import click

from probact.runs.experiment import Experiment
from probact.support.words import counted

SECONDS_OF_SILENCE = 10.0


STEPS_BEFORE_AN_ESTIMATE = 2
"""After the first meta-step, whose time is not counted: it compiles and warms up."""
BAR = "{desc} |{bar}| {n_fmt}/{total_fmt}{postfix}"
"""With what ``progress`` adds, short enough for 80 columns."""


@contextmanager
def progress(experiment: Experiment, bar: bool = True, varied: Sequence[str] = ()) -> Iterator[Any]:
    """A progress bar on a terminal; elsewhere and without ``bar`` a line a validation or ten seconds.

    With loss, E[t], amortisation gap of the last validation, and time left.  ``best`` is of the validations since the
    start of this process.

    :param varied: settings that tell this training from those beside it.
    """
    from tqdm import tqdm

    from probact.runs.run import Record

    terminal = bar and sys.stderr.isatty()
    label = " ".join([*(_setting(experiment, name) for name in varied), f"seed {experiment.seed}"])
    with tqdm(
        total=experiment.meta_steps, desc=label, disable=not terminal, dynamic_ncols=True, bar_format=BAR
    ) as shown:
        last, best, gap, validated, left = -SECONDS_OF_SILENCE, math.inf, "", "", TimeLeft(experiment.meta_steps)

        def show(record: Record) -> None:
            nonlocal last, best, gap, validated
            now = time.monotonic()
            best = best if record.validation is None else min(best, record.validation)
            validated = validated if record.validation is None else f" val {record.validation:.4g}"
            halting = "" if record.mean_halting is None else f" E[t] {record.mean_halting:.1f}"
            gap = gap if record.amortisation_gap is None else f" gap {record.amortisation_gap:.2g}"
            lost = (
                ""
                if not record.left_out
                else f"  {counted(record.left_out, 'problem')} diverged, {counted(record.skipped, 'update')} skipped"
            )
            until = left(record.step, now)
            time_left = f"{until} left, " if until else ""
            shown.update(record.step - shown.n)
            shown.set_postfix_str(f"{time_left}loss {record.loss:.4g}{halting}{gap}{validated}{lost}")
            if terminal or (record.validation is None and now - last < SECONDS_OF_SILENCE):
                return
            last = now
            found = f"loss {record.loss:.4g}" if record.validation is None else f"validation {record.validation:.4g}"
            kept = "" if math.isinf(best) else f" (best {best:.4g})"
            with suppress(OSError):  # nobody looks any more: that is no reason to stop
                click.echo(
                    f"{label}: meta-step {record.step}/{experiment.meta_steps}"
                    f"  {found} nats{kept}{halting}{gap and f' {gap} nats'}  |g| {record.grad_norm:.2g}{lost}"
                    + (f"  {until} left" if until else ""),
                    err=True,
                )

        yield show


class TimeLeft:
    """Estimates when a training is done, from its speed after the first meta-step of this process.

    :param total: meta-steps of the whole training.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._first: tuple[int, float] | None = None

    def __call__(self, step: int, now: float) -> str:
        """After meta-step ``step`` at ``now`` seconds; empty where too few were made to tell."""
        first, begun = self._first = self._first or (step, now)
        made = step - first
        return _duration((now - begun) / made * (self.total - step)) if made >= STEPS_BEFORE_AN_ESTIMATE else ""


def _setting(experiment: Experiment, name: str) -> str:
    """A setting and its value, as short as it goes."""
    value = getattr(experiment, name)
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{'nu' if name == 'prior_nu' else name.replace('_', '-')} {shown}"


@contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """Tell a line about what is under way, and while it takes long, every ten seconds, how long it has."""
    line, begun, said = "", time.monotonic(), time.monotonic()
    done = threading.Event()

    def tell(text: str) -> None:
        nonlocal line, begun, said
        line, begun = text, time.monotonic()
        said = begun
        with suppress(OSError):
            click.echo(line, err=True)

    def go_on() -> None:
        nonlocal said
        while not done.wait(SECONDS_OF_SILENCE / 20):
            now = time.monotonic()
            if line and now - said >= SECONDS_OF_SILENCE:
                said = now
                with suppress(OSError):
                    click.echo(f"{line} ({now - begun:.0f} s)", err=True)

    watch = threading.Thread(target=go_on, daemon=True)
    watch.start()
    try:
        yield tell
    finally:
        done.set()
        watch.join()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
