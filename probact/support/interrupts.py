"""Ctrl-C, SIGTERM and a lost terminal as requests, so that training stops between two meta-steps."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def asked_to_stop(answer: str = "", *, patient: bool = False) -> Iterator[list[int]]:
    """A list that fills on the first Ctrl-C, SIGTERM or SIGHUP, so that a meta-step is never cut in half.

    A second one interrupts at once, but not a ``patient`` process, one of several.  That gets each request twice: from
    the terminal, and from the process that started it.  The second may come as late as when it is about to end.
    Under nohup a SIGHUP asks nothing.

    :param answer: a line for stderr at once, as the meta-step may take a while.
    """
    asked: list[int] = []

    def remember(number: int, frame: Any) -> None:
        if asked and not patient:
            raise KeyboardInterrupt
        if answer and not asked:
            with suppress(OSError):  # not by print, which must not be called within itself
                os.write(2, f"\n{answer}\n".encode())
        asked.append(number)

    hangup = [signal.SIGHUP] if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN else []
    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM, *hangup)}
    ended_well = False
    try:
        yield asked
        ended_well = True
    finally:
        if not patient or (ended_well and not asked):
            for number, handler in before.items():
                signal.signal(number, handler)
