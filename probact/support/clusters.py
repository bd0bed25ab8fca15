"""Jobs for the workers of a Dask cluster: on other machines, or on this one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext
from typing import Any

from probact.support.lost import ClusterLostError


@contextmanager
def client_of(address: str, num: int) -> Iterator[Any]:
    """A client of the Dask scheduler at ``address``; ``local``: of ``num`` workers that are started here, and end here.

    :raises ValueError: if there is no scheduler.
    :raises ClusterLostError: where a job's result is asked for within that will never come.
    """
    from dask import distributed

    cluster: Any = address
    if address == "local":
        cluster = distributed.LocalCluster(n_workers=num, threads_per_worker=1, dashboard_address=None)
    try:
        client = distributed.Client(cluster)
    except OSError as error:
        raise ValueError(f"cluster {address}: expected a Dask scheduler, got none ({error})") from None
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what is lost is said below, in one line
    with client, nullcontext() if cluster is address else cluster:
        try:
            yield client
        except CancelledError:
            raise ClusterLostError(f"cluster {address}: its scheduler is gone; what was saved is kept") from None
        except distributed.KilledWorker:
            message = f"cluster {address}: one job has cost a worker several times over (is their memory too small?)"
            raise ClusterLostError(message) from None


def watched_workers(client: Any, tell: Callable[[str], None]) -> Callable[[], None]:
    """To be called from time to time: tells when workers have gone."""
    before = 0

    def look() -> None:
        nonlocal before
        try:
            num = len(client.nthreads())
        except OSError:
            return  # the scheduler does not answer: the results will say so
        if num < before:
            left = f"{num} {'is' if num == 1 else 'are'} left" if num else "none is left: waiting for others"
            tell(f"a worker has gone, {left}; what it had begun goes on from what was saved")
        before = num

    return look
