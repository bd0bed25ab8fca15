"""Ctrl-C as a request, so that training stops between two meta-steps."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def asked_to_stop(*, patient: bool = False) -> Iterator[list[int]]:
    """A list that fills on the first Ctrl-C or SIGTERM, so that a meta-step is never cut in half.

    A second one interrupts at once, but not a ``patient`` process, one of several.  That gets each request twice: from
    the terminal, and from the process that started it.  The second may come as late as when it is about to end.
    """
    asked: list[int] = []

    def remember(number: int, frame: Any) -> None:
        if asked and not patient:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    ended_well = False
    try:
        yield asked
        ended_well = True
    finally:
        if not patient or (ended_well and not asked):
            for number, handler in before.items():
                signal.signal(number, handler)
