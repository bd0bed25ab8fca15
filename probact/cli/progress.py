"""How a training shows where it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from probact.runs.experiment import Experiment


@contextmanager
def progress(experiment: Experiment, bar: bool = True) -> Iterator[Any]:
    """A progress bar on a terminal, a line a validation elsewhere and without ``bar``."""
    from tqdm import tqdm

    from probact.runs.run import Record

    terminal = bar and sys.stderr.isatty()
    label = f"seed {experiment.seed}"
    with tqdm(total=experiment.meta_steps, desc=label, unit="step", disable=not terminal, dynamic_ncols=True) as shown:

        def show(record: Record) -> None:
            shown.update(record.step - shown.n)
            halting = "" if record.mean_halting is None else f" E[t] {record.mean_halting:.1f}"
            lost = f"  {record.left_out} problems diverged, {record.skipped} updates skipped" if record.left_out else ""
            shown.set_postfix_str(f"loss {record.loss:.4g}{halting} |g| {record.grad_norm:.2g}{lost}")
            if not terminal and record.validation is not None:
                click.echo(
                    f"{label}: meta-step {record.step}/{experiment.meta_steps}"
                    f"  validation {record.validation:.4g}{halting}  |g| {record.grad_norm:.2g}{lost}",
                    err=True,
                )

        yield show
