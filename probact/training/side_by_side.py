"""Chains side by side: each trains in a process of its own, so that several seeds use several cores."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from probact.problems.data.sets import data_directory, data_directory_is
from probact.runs.experiment import Experiment
from probact.runs.run import Chain, Record
from probact.support.interrupts import asked_to_stop
from probact.support.lost import ProcessLostError
from probact.support.plugins import import_plugins, imported_plugins
from probact.training.loop import train

Show = Callable[[Experiment], AbstractContextManager[Callable[[Record], None]]]
POLL_SECONDS = 0.2


def train_side_by_side(chains: Sequence[Chain], jobs: int, show: Show, asked: Sequence[int]) -> bool:
    """Train ``chains``, ``jobs`` at a time, each with its share of this process's threads; True if all got to the end.

    Once ``asked`` is not empty, or when one fails, all save and stop.  The processes are spawned, for torch's threads
    do not survive a fork.

    :param show: what follows a chain's training, for example ``progress``; a function that can be pickled.
    :raises Exception: what the first chain to fail raised.
    :raises ProcessLostError: if one of the processes was killed.
    """
    context = get_context("spawn")
    stop, threads = context.Event(), max(1, torch.get_num_threads() // jobs)
    todo, running, failures, finished = list(chains), dict[Connection, Any](), list[Exception](), 0
    try:
        while running or (todo and not stop.is_set()):
            while todo and len(running) < jobs and not stop.is_set():
                outcome, told = context.Pipe(duplex=False)
                given = (todo.pop(0), threads, data_directory(), imported_plugins(), show, stop, told)
                process = context.Process(target=_work, args=given)
                with _interrupts_held():
                    process.start()
                told.close()  # so that its end is seen when the process is gone
                running[outcome] = process
            if asked:
                stop.set()
            for ended in wait(list(running), POLL_SECONDS):
                assert isinstance(ended, Connection)
                try:
                    result = ended.recv()
                except EOFError:
                    result = ProcessLostError("killed")
                running.pop(ended).join()
                if result is True:
                    finished += 1
                else:
                    stop.set()
                if isinstance(result, Exception):
                    failures.append(result)
    finally:
        stop.set()
    if failures:
        raise failures[0]
    return finished == len(chains)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process started here never hears the terminal, which is for this one to pass on, not even while it imports."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(
    chain: Chain, threads: int, data: Path, plugins: Sequence[str], show: Show, stop: Any, told: Connection
) -> None:
    """Train one chain and tell how it went: whether it got to its end, or what was raised."""
    torch.set_num_threads(threads)
    parent = parent_process()
    assert parent is not None
    outcome: bool | Exception
    try:
        import_plugins(plugins)
        with (
            data_directory_is(data) if data.is_dir() else nullcontext(),
            asked_to_stop(patient=True) as asked,
            show(chain.experiment) as on_record,
        ):
            outcome = train(chain, on_record, lambda: bool(asked) or stop.is_set() or not parent.is_alive())
    except (ValueError, OSError) as error:
        outcome = error
    with suppress(BrokenPipeError):
        told.send(outcome)
