"""Trainings in processes and on a cluster: the same weights as one by one, also where one is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from probact.runs.experiment import Experiment
from probact.runs.run import Run
from probact.support.lost import ProcessLostError
from probact.training import many
from probact.training.loggers.base import choose
from probact.training.loop import begin, train
from tests.helpers.trainings import same, tiny


@contextmanager
def quiet(experiment: Experiment) -> Iterator[Any]:
    yield lambda record: None


@contextmanager
def deadly(experiment: Experiment) -> Iterator[Any]:
    """Kills the process of seed 1 in its first life, after it has saved something."""
    mark = Path(os.environ["MARK"])

    def show(record: Any) -> None:
        if experiment.seed == 1 and record.step == 4 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    yield show


def run_in(folder: Path, **settings: Any) -> Run:
    run = Run.create(folder, tiny(**settings), (0, 1))
    for chain in run.chains:
        begin(chain)
    return run


def weights(run: Run) -> list[dict[str, Any]]:
    return [chain.state()["best_weights"] for chain in run.chains]


def one_by_one(folder: Path, **settings: Any) -> Run:
    run = run_in(folder, **settings)
    for chain in run.chains:
        assert train(chain, lambda record: None, lambda: False)
    return run


def test_a_killed_process_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    run, told = run_in(tmp_path / "many"), list[str]()
    # The other training saves when it is asked to stop, so that something has been made since.
    assert many.train_here(run.chains, 2, deadly, [], told.append)
    assert told == ["a process was lost: what it trained goes on from its last checkpoint"]
    expected = one_by_one(tmp_path / "alone")
    assert all(same(a, b) for a, b in zip(weights(run), weights(expected), strict=True))
    assert [chain.records()[-1]["loss"] for chain in run.chains] == [
        chain.records()[-1]["loss"] for chain in expected.chains
    ]
    assert many.train_here(run.chains, 2, quiet, [], told.append)  # nothing is left


def test_processes_that_die_before_they_save_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*given: Any) -> bool:
        raise ProcessLostError("killed")

    monkeypatch.setattr(many, "train_side_by_side", lost)
    run = run_in(tmp_path / "many")
    with pytest.raises(ProcessLostError):
        many.train_here(run.chains, 2, quiet, [], lambda line: None)
    assert not many.train_here(run.chains, 2, quiet, [signal.SIGINT], lambda line: None)


@pytest.mark.filterwarnings("default")
def test_a_cluster_trains_the_same(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    run, told = run_in(tmp_path / "many"), list[str]()
    assert many.train_on_cluster(run.chains, "local", 1, 1, [], told.append)
    assert len(told) == 2
    expected = one_by_one(tmp_path / "alone")
    assert all(same(a, b) for a, b in zip(weights(run), weights(expected), strict=True))


def kill_after(run: Run, lines: int, pid: int) -> None:
    """Wait for so many meta-steps, then kill the process."""
    while sum(len(chain.records()) for chain in run.chains if chain.metrics.exists()) < lines:
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)


@pytest.mark.filterwarnings("default")
def test_a_killed_worker_changes_neither_weights_nor_logs(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    long: dict[str, Any] = {"meta_steps": 60, "validate_every": 5}
    run, told = run_in(tmp_path / "many", **long), list[str]()
    choose(run.folder, ["csv"])
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        pid = next(worker.pid for worker in cluster.workers.values())
        killer = threading.Thread(target=kill_after, args=(run, 60, pid))
        killer.start()
        assert many.train_on_cluster(run.chains, cluster.scheduler_address, 2, 1, [], told.append)
        killer.join()
    assert "a worker has gone, 1 is left; what it had begun goes on from what was saved" in told
    assert told[-1].endswith("0 trainings left")
    expected = one_by_one(tmp_path / "alone", **long)
    assert all(same(a, b) for a, b in zip(weights(run), weights(expected), strict=True))
    for chain in run.chains:
        steps = [line.partition(",")[0] for line in (chain.folder / "log" / "metrics.csv").read_text().splitlines()]
        assert steps == ["step", *map(str, range(1, 61))]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_cluster_survives_a_killed_worker_and_stops_when_asked(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    run = run_in(tmp_path / "many", meta_steps=400)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        pids = [worker.pid for worker in cluster.workers.values()]
        threading.Timer(6.0, lambda: os.kill(pids[0], signal.SIGKILL)).start()
        asked: list[int] = []
        threading.Timer(12.0, lambda: asked.append(2)).start()
        begun = time.monotonic()
        finished = many.train_on_cluster(run.chains, cluster.scheduler_address, 2, 1, asked, lambda line: None)
        assert finished or time.monotonic() - begun > 11
        assert many.train_on_cluster(run.chains, cluster.scheduler_address, 2, 1, [], lambda line: None)
    assert all(chain.is_finished for chain in run.chains)


@pytest.mark.filterwarnings("default")
def test_a_cluster_that_is_none_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    run = run_in(tmp_path / "many")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(ValueError, match=r"cluster tcp://127\.0\.0\.1:9: expected a Dask scheduler, got none"),
    ):
        many.train_on_cluster(run.chains, "tcp://127.0.0.1:9", 1, 1, [], lambda line: None)
