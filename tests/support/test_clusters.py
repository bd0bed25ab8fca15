"""A cluster that fails says so in one line; one that works is left as it was."""

from __future__ import annotations

import os
from typing import Any

import pytest

from probact.support.clusters import client_of, watched_workers
from probact.support.lost import ClusterLostError

pytestmark = pytest.mark.filterwarnings("default")


def answer() -> int:
    return 42


def die() -> None:
    os._exit(1)


def given_up() -> None:
    with client_of("local", 1) as client:
        future = client.submit(answer, pure=False)
        future.cancel()
        future.result()


def test_what_will_never_come_is_one_line() -> None:
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")
    with client_of("local", 1) as client:
        assert client.submit(answer).result() == 42
    with pytest.raises(ClusterLostError, match="cluster local: its scheduler is gone"):
        given_up()
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        pytest.raises(ClusterLostError, match="cluster local: one job has cost a worker"),
        client_of("local", 1) as client,
    ):
        client.submit(die).result()


def test_workers_that_go_are_told() -> None:
    told = list[str]()
    numbers: list[Any] = [2, 1, 1, OSError("no answer"), 2, 0]

    class Client:
        def nthreads(self) -> dict[str, int]:
            num = numbers.pop(0)
            if isinstance(num, OSError):
                raise num
            return {str(one): 1 for one in range(num)}

    look = watched_workers(Client(), told.append)
    while numbers:
        look()
    assert [line.partition(";")[0] for line in told] == [
        "a worker has gone, 1 is left", "a worker has gone, none is left: waiting for others"
    ]  # fmt: skip
