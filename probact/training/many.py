"""Many trainings, of one run or of several: in processes of this machine, or by the workers of a Dask cluster.

A training whose process is killed goes on from its last checkpoint, to the same weights.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from probact.problems.data.sets import data_directory, data_directory_is
from probact.runs.run import Chain, Record
from probact.support.clusters import client_of, watched_workers
from probact.support.lost import ProcessLostError
from probact.support.plugins import import_plugins, imported_plugins
from probact.support.words import counted
from probact.training.loop import train
from probact.training.side_by_side import Show, train_side_by_side

POLL_SECONDS = 0.5
Tell = Callable[[str], None]


def steps_made(chains: Sequence[Chain]) -> int:
    """Meta-steps that are saved, of all ``chains``."""
    return sum(chain.state().get("step", 0) for chain in chains if chain.checkpoint.exists())


def train_here(chains: Sequence[Chain], jobs: int, show: Show, asked: Sequence[int], tell: Tell) -> bool:
    """Train what is not finished of ``chains``, ``jobs`` at a time; True if all got to the end.

    :param asked: once it is not empty, all save and stop.
    :raises ProcessLostError: if a process was killed and nothing has been saved since the last time.
    """
    while left := [chain for chain in chains if not chain.is_finished]:
        before = steps_made(left)
        try:
            return train_side_by_side(left, min(jobs, len(left)), show, asked)
        except ProcessLostError:
            if asked:
                return False
            if steps_made(left) == before:
                raise
            tell("a process was lost: what it trained goes on from its last checkpoint")
    return True


def train_on_cluster(
    chains: Sequence[Chain], address: str, jobs: int, threads: int, asked: Sequence[int], tell: Tell
) -> bool:
    """``train_here`` by the workers of the Dask scheduler at ``address``; ``local``: by ``jobs`` that are started here.

    All machines share the runs' folders.  What a lost worker trained goes to another one.

    :raises ValueError: if there is no scheduler, or a worker does not see the folders.
    :raises ClusterLostError: if the scheduler is lost, or a training costs one worker after the other.
    """
    left = [replace(chain, folder=chain.folder.resolve()) for chain in chains if not chain.is_finished]
    own = data_directory().absolute() if address == "local" and data_directory().is_dir() else None
    with client_of(address, jobs) as client:
        from dask.distributed import Event

        stop, look = Event(f"probact-{uuid.uuid4().hex}", client=client), watched_workers(client, tell)
        given = (threads, own, imported_plugins(), stop.name)
        running = {client.submit(_train_there, chain, *given, pure=False): chain for chain in left}
        finished = True
        while running:
            if asked and not stop.is_set():
                stop.set()
            for future in [future for future in running if future.done()]:
                chain = running.pop(future)
                finished &= bool(future.result())
                still = counted(len(running), "training")
                tell(f"{chain.run_folder.name}, seed {chain.experiment.seed}: {still} left")
            look()
            time.sleep(POLL_SECONDS)
    return finished


def _train_there(chain: Chain, threads: int, data: Path | None, plugins: Sequence[str], stop: str) -> bool:
    """On a worker: train one chain; whether it got to its end."""
    from dask import distributed

    if not chain.folder.is_dir():
        raise ValueError(f"{chain.folder}: not there on a worker: expected a folder that all machines share")
    torch.set_num_threads(threads)
    import_plugins(plugins)
    event, looked = distributed.Event(stop), [time.monotonic(), False]

    def should_stop() -> bool:
        if not looked[1] and time.monotonic() - looked[0] > POLL_SECONDS:
            looked[:] = [time.monotonic(), event.is_set()]
        return bool(looked[1])

    with nullcontext() if data is None else data_directory_is(data):
        return train(chain, _nothing, should_stop)


def _nothing(record: Record) -> None:
    pass
