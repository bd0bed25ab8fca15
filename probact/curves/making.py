"""Make curves: group by group, in several processes or on several machines, so that what is made stays."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from probact.curves.corpus import Curves
from probact.curves.data_sets.base import DATA_SETS
from probact.curves.recipes import TOGETHER, Recipe
from probact.problems.data.sets import data_directory, data_directory_is
from probact.support.clusters import client_of
from probact.support.files import remove_halves

PARTS = "parts"
"""The folder beside the files that holds the groups of those which are not whole."""


class Job(NamedTuple):
    """A group of curves to be made.

    :ivar group: which one of its recipe.
    :ivar data: the data directory; None: the one of whichever machine makes it.
    """

    recipe: Recipe
    seed: int
    group: int
    data: Path | None = None

    def do(self) -> Curves:
        """Make it."""
        with nullcontext() if self.data is None else data_directory_is(self.data):
            return self.recipe.group(self.seed, self.group)

    def part(self, folder: Path) -> Path:
        """Its file until the file of its set is whole."""
        return folder / PARTS / f"{self.recipe.name}-{self.seed}-{self.group}.npz"


Workers = Callable[[Sequence[Job]], Iterator[tuple[Job, Curves]]]
"""Does jobs, in whatever order."""


def make(
    recipes: Sequence[Recipe], folder: Path, seed: int, count: int, workers: Workers, tell: Callable[[str], None]
) -> None:
    """A file ``NAME.npz`` a recipe in ``folder``, of ``count`` curves each.

    What is there already is kept: the same call goes on where the last one was cut off.  A damaged group is made again.

    :raises ValueError: if a file is there that is of another seed or count or is damaged, or data are not to be had.
    """
    jobs = {recipe: _jobs(recipe, seed, count) for recipe in recipes if not _is_made(recipe, folder, seed, count)}
    (folder / PARTS).mkdir(parents=True, exist_ok=True)
    left = [job for recipe in jobs for job in jobs[recipe] if not _is_whole(job.part(folder), tell)]
    for recipe in jobs:
        _join(jobs[recipe], folder, count)
    for done, (job, curves) in enumerate(workers(left), 1):
        curves.save(job.part(folder))
        missing = _join(jobs[job.recipe], folder, count)
        state = f"{missing} missing" if missing else "whole"
        tell(f"{done} of {len(left)} groups of {TOGETHER} curves: {job.recipe.name} {state}")
    if not any((folder / PARTS).iterdir()):
        (folder / PARTS).rmdir()


def _file(recipe: Recipe, folder: Path) -> Path:
    return folder / f"{recipe.name}.npz"


def _jobs(recipe: Recipe, seed: int, count: int) -> list[Job]:
    return [Job(recipe, seed, group) for group in range(-(-count // TOGETHER))]


def _is_made(recipe: Recipe, folder: Path, seed: int, count: int) -> bool:
    path = _file(recipe, folder)
    if not path.exists():
        return False
    curves = Curves.load(path)
    if (curves.num, curves.seeds) != (count, [seed]):
        seeds = ", ".join(map(str, curves.seeds)) or "none"
        raise ValueError(f"{path}: expected {count} curves of seed {seed}, got {curves.num} of seed {seeds}")
    return True


def _is_whole(part: Path, tell: Callable[[str], None]) -> bool:
    """Whether a part is there; one that is damaged is removed."""
    if not part.exists():
        return False
    try:
        Curves.load(part)
    except ValueError as error:
        tell(f"made again: {error}")
        part.unlink()
        return False
    return True


def _join(jobs: Sequence[Job], folder: Path, count: int) -> int:
    """Write the file of a recipe if all its groups are there; how many are missing."""
    parts = [job.part(folder) for job in jobs]
    missing = sum(not part.exists() for part in parts)
    if not missing:
        curves = Curves.joined([Curves.load(part) for part in parts])
        curves.select(slice(count)).save(_file(jobs[0].recipe, folder))
        for part in parts:
            part.unlink()
            remove_halves(part)
    return missing


def here(jobs: Sequence[Job]) -> Iterator[tuple[Job, Curves]]:
    """In this process, one after another."""
    return ((job, job.do()) for job in jobs)


def in_processes(num: int) -> Workers:
    """``Workers`` that are ``num`` processes; a new set of them where one was killed.

    :raises ValueError: if one is killed before any job was done since the last time.
    """

    def work(jobs: Sequence[Job]) -> Iterator[tuple[Job, Curves]]:
        left = dict.fromkeys(job._replace(data=_own_data()) for job in jobs)
        while left:
            before = len(left)
            try:
                for job, curves in _round(list(left), num):
                    del left[job]
                    yield job, curves
            except BrokenProcessPool:
                if len(left) == before:
                    raise ValueError("a process was killed before it had made anything: is memory short?") from None

    return work


def _own_data() -> Path | None:
    """The data directory of this process, for those that it starts; None while there is none, as few sets need one."""
    found = data_directory().absolute()
    return found if found.is_dir() else None


def _round(jobs: Sequence[Job], num: int) -> Iterator[tuple[Job, Curves]]:
    context = get_context("spawn")
    pool = ProcessPoolExecutor(num, context, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        futures: dict[Future[Curves], Job] = {pool.submit(job.do): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def on_cluster(address: str, num: int) -> Workers:
    """``Workers`` of the Dask scheduler at ``address``; ``local``: of ``num`` processes that are started here.

    A job of a worker that is lost goes to another one.  Other machines look for data in their own data directory.
    """

    def work(jobs: Sequence[Job]) -> Iterator[tuple[Job, Curves]]:
        if address == "local":
            jobs = [job._replace(data=_own_data()) for job in jobs]
        with client_of(address, num) as client:
            from dask.distributed import as_completed as as_given_back

            futures = {client.submit(job.do, key=f"probact-{job}", pure=False): job for job in jobs}
            for future, curves in as_given_back(futures, with_results=True):
                yield futures[future], curves

    return work


def look_for_data(recipes: Sequence[Recipe]) -> None:
    """Of all ``recipes``, before hours have gone into some.

    :raises ValueError: if those of one are not to be had.
    """
    for name in dict.fromkeys(recipe.data_set for recipe in recipes):
        DATA_SETS.build(name).points(np.random.default_rng(0))
