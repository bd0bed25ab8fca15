"""How a command shows where it is: never more than ten seconds of silence."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from probact.runs.experiment import Experiment

SECONDS_OF_SILENCE = 10.0


@contextmanager
def progress(experiment: Experiment, bar: bool = True) -> Iterator[Any]:
    """A progress bar on a terminal; elsewhere and without ``bar`` a line a validation or ten seconds.

    With loss, E[t], amortisation gap of the last validation, and time left.  ``best`` is of the validations since the
    start of this process.
    """
    from tqdm import tqdm

    from probact.runs.run import Record

    terminal = bar and sys.stderr.isatty()
    label = f"seed {experiment.seed}"
    with tqdm(total=experiment.meta_steps, desc=label, unit="step", disable=not terminal, dynamic_ncols=True) as shown:
        last, best, begun, first, gap = -SECONDS_OF_SILENCE, math.inf, time.monotonic(), None, ""

        def show(record: Record) -> None:
            nonlocal last, best, first, gap
            first = record.step - 1 if first is None else first
            best = best if record.validation is None else min(best, record.validation)
            shown.update(record.step - shown.n)
            halting = "" if record.mean_halting is None else f" E[t] {record.mean_halting:.1f}"
            gap = gap if record.amortisation_gap is None else f"  gap {record.amortisation_gap:.2g} nats"
            lost = f"  {record.left_out} problems diverged, {record.skipped} updates skipped" if record.left_out else ""
            shown.set_postfix_str(f"loss {record.loss:.4g} nats{halting}{gap}  |g| {record.grad_norm:.2g}{lost}")
            now = time.monotonic()
            left = (now - begun) / (record.step - first) * (experiment.meta_steps - record.step)
            if terminal or (record.validation is None and now - last < SECONDS_OF_SILENCE):
                return
            last = now
            found = f"loss {record.loss:.4g}" if record.validation is None else f"validation {record.validation:.4g}"
            kept = "" if math.isinf(best) else f" (best {best:.4g})"
            with suppress(OSError):  # nobody looks any more: that is no reason to stop
                click.echo(
                    f"{label}: meta-step {record.step}/{experiment.meta_steps}"
                    f"  {found} nats{kept}{halting}{gap}  |g| {record.grad_norm:.2g}{lost}"
                    f"  {_duration(left)} left",
                    err=True,
                )

        yield show


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
