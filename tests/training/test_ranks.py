from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from torch import distributed, multiprocessing

from probact.cli.main import cli
from probact.runs.experiment import Experiment
from probact.runs.run import Record, Run
from probact.support.lost import ProcessLostError
from probact.support.ranks import Ranks
from probact.training.loop import train
from probact.training.meta_training import MetaTraining
from probact.training.side_by_side import train_side_by_side
from tests.helpers.processes import CLI, FIT, final_weights, lines, start, wait_for
from tests.helpers.trainings import same, tiny

FIVE = {"batch": 5, "validation_problems": 5}
BROKEN = {"one diverged": 1, "a slice diverged": 2, "all diverged": 100}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "sample": {"estimator": "sample", "horizon": 8},
    "none": {"halting": "none"},
    "pes": {"gradient": "pes", "truncate": 4},
    **{name: {} for name in BROKEN},
}


def train_case(name: str, ranks: Ranks, after: dict[str, Any] | None = None) -> dict[str, Any]:
    """Records, weights and the first meta-step's gradient; problems 0..k - 1 of each batch are broken."""
    training = MetaTraining(tiny(**FIVE, **CASES[name]), ranks)
    sample = training.family.sample

    def broken(num: int, random: torch.Generator) -> Any:
        optimizee = sample(num, random)
        optimizee.target[: BROKEN[name]] = torch.nan  # type: ignore[attr-defined]
        return optimizee

    if name in BROKEN:
        training.family.sample = broken  # type: ignore[method-assign]
    if after is not None:
        training.load_state_dict(after)
    steps = iter(training)
    try:
        records = [next(steps)]
    except ValueError as error:
        return {"error": str(error)}
    grads = [weight.grad.clone() for weight in training.objective.parameters() if weight.grad is not None]
    records += list(steps)
    return {
        "records": [record._asdict() for record in records],
        "grads": grads,
        "weights": training.objective.state_dict(),
        "best": training.best_weights,
    }


def rank_work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    ranks = Ranks(rank, 2)
    found = {name: train_case(name, ranks) for name in CASES}
    found["resumed"] = train_case("plain", ranks, torch.load(folder / "half.pt"))
    torch.save(found, folder / f"rank-{rank}.pt")
    ranks.leave()


def half_done() -> MetaTraining:
    training = MetaTraining(tiny(**FIVE))
    for record in training:
        if record.step == 3:
            break
    return training


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks found in double precision."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.set_default_dtype(torch.float64)
    try:
        torch.save(half_done().state_dict(), folder / "half.pt")
    finally:
        torch.set_default_dtype(torch.float32)
    multiprocessing.start_processes(  # type: ignore[attr-defined]
        rank_work, (folder,), nprocs=2, start_method="forkserver"
    )
    return [torch.load(folder / f"rank-{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", [*CASES, "resumed"])
def test_two_processes_find_what_one_finds(name: str, by_two: list[dict[str, Any]], double: None) -> None:
    """Gradient, records and weights; the same weights on both ranks; also when problems of one rank diverge."""
    alone = train_case("plain", Ranks(), half_done().state_dict()) if name == "resumed" else train_case(name, Ranks())
    first, second = (found[name] for found in by_two)
    if name == "all diverged":
        assert "expected a finite loss at theta_0, got none in 32 problems" in alone["error"]
        assert alone == first == second
        return
    assert same(first["weights"], second["weights"])
    assert same(first["best"], second["best"])
    torch.testing.assert_close(first["grads"], alone["grads"], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(first["weights"], alone["weights"], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(first["best"], alone["best"], rtol=1e-6, atol=1e-8)
    for ours, theirs in zip(first["records"], alone["records"], strict=True):
        assert [value is None for value in ours.values()] == [value is None for value in theirs.values()]
        # With T drawn, E[t] counts up to the largest T of each rank's part, which is no mean over problems.
        for key in ours.keys() - {"seconds", *(["mean_halting"] if name == "sample" else [])}:
            assert ours[key] is None or ours[key] == pytest.approx(theirs[key], rel=1e-6), key
    if name in BROKEN:
        assert first["records"][0]["diverged"] == BROKEN[name]


def test_refusals() -> None:
    with pytest.raises(
        ValueError, match="a problem for each of the 3 processes, got batch 2 and validation-problems 4"
    ):
        MetaTraining(tiny(batch=2), Ranks(0, 3))
    for arguments, words in (
        (["fit", "--jobs", "2"], "expected --jobs or torchrun, got both"),
        (["list"], "torchrun is for fit: start list without it"),
    ):
        with pytest.raises(click.UsageError, match=words):
            cli.main(arguments, standalone_mode=False, obj=Ranks(0, 2))


def torchrun(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(CLI), "fit", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ranks_of(process: subprocess.Popen[str]) -> dict[str, int]:
    """The process id of each rank."""
    found = {}
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        for entry in Path(f"/proc/{child}/environ").read_text().split("\0"):
            if entry.startswith("RANK="):
                found[entry.removeprefix("RANK=")] = int(child)
    return found


def complaints(errors: str) -> list[str]:
    return [line for line in errors.splitlines() if line.startswith("Error: ")]


@pytest.mark.skipif(sys.platform != "linux", reason="finds the ranks in /proc")
def test_a_lost_process_is_one_line_and_the_run_goes_on_with_any_number(tmp_path: Path) -> None:
    """Rank 1 killed, then two processes again until Ctrl-C to all, then one to the end."""
    metrics = tmp_path / "run" / "metrics.jsonl"
    process = torchrun(tmp_path, *FIT, "--out", "run")
    wait_for(lambda: lines(metrics) >= 20, process)
    os.kill(ranks_of(process)["1"], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    (line,) = complaints(errors)
    assert line == ("Error: a process of this run was lost; saved; continue with: python cli.py fit --resume run")
    saved = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"]
    assert saved == lines(metrics) >= 20
    alone = MetaTraining(Run.open(tmp_path / "run").experiment)
    list(islice(alone, saved))
    torch.testing.assert_close(
        final_weights(tmp_path / "run"), dict(alone.objective.state_dict()), rtol=0, atol=1e-5
    )  # nothing of a meta-step that was not finished

    process = torchrun(tmp_path, "--resume", "run")
    wait_for(lambda: lines(metrics) >= saved + 20, process)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "interrupted and saved; continue with: python cli.py fit --resume run" in errors.splitlines()
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == lines(metrics)

    (chain,) = Run.open(tmp_path / "run").chains
    assert train(chain, lambda record: None, lambda: False)
    assert [record["step"] for record in chain.records()] == list(range(1, 301))


@pytest.mark.skipif(sys.platform != "linux", reason="finds the ranks in /proc")
def test_when_rank_0_is_lost_another_says_so(tmp_path: Path) -> None:
    metrics = tmp_path / "run" / "metrics.jsonl"
    process = torchrun(tmp_path, *FIT, "--out", "run")
    wait_for(lambda: lines(metrics) >= 3, process)
    os.kill(ranks_of(process)["0"], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    (line,) = complaints(errors)
    assert line == (
        "Error: process 0 of this run was lost; continue from its last checkpoint with: python cli.py fit --resume run"
    )
    assert (tmp_path / "run" / "checkpoint.pt").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="finds the ranks in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_when_torchrun_is_killed_no_rank_goes_on(number: int, tmp_path: Path) -> None:
    metrics = tmp_path / "run" / "metrics.jsonl"
    process = torchrun(tmp_path, *FIT, "--meta-steps", "100000", "--out", "run")
    wait_for(lambda: lines(metrics) >= 3, process)
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=60)  # returns when no rank is left that could write
    assert "interrupted and saved; continue with: python cli.py fit --resume run" in errors.splitlines()
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == lines(metrics)


def test_a_mistake_under_torchrun_is_said_once(tmp_path: Path) -> None:
    process = torchrun(tmp_path, *FIT, "--batch", "1", "--out", "run")
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    (line,) = complaints(errors)
    assert "expected a problem for each of the 2 processes" in line
    assert not (tmp_path / "run").exists()


@contextmanager
def silent(experiment: Experiment) -> Iterator[Callable[[Record], None]]:
    yield lambda record: None


@contextmanager
def killed_with_seed_one(experiment: Experiment) -> Iterator[Callable[[Record], None]]:
    if experiment.seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    yield lambda record: None


@pytest.mark.slow
def test_failures_side_by_side_stop_and_save_the_others(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", tiny(meta_steps=100_000), [0, 1])
    with pytest.raises(ProcessLostError):
        train_side_by_side(run.chains, 2, killed_with_seed_one, [])
    run.chains[1].checkpoint.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="not a probact checkpoint"):
        train_side_by_side(run.chains, 2, silent, [])
    assert torch.load(run.chains[0].checkpoint, weights_only=True)["step"] == lines(run.chains[0].metrics) >= 1


class AskedOnce(list[int]):
    """Asked to stop as soon as both chains have begun."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __bool__(self) -> bool:
        return min(map(lines, self.files)) >= 3


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_seeds_side_by_side_equal_one_after_the_other(tmp_path: Path, one_thread: None) -> None:
    """Stopped and continued on the way; three chains, two at a time."""
    run = Run.create(tmp_path / "run", tiny(meta_steps=30), [0, 1, 2])
    assert not train_side_by_side(run.chains, 2, silent, AskedOnce([chain.metrics for chain in run.chains[:2]]))
    assert not run.chains[2].metrics.exists()
    assert train_side_by_side(run.chains, 2, silent, [])
    for chain in run.chains:
        training = MetaTraining(chain.experiment)
        list(training)
        assert same(final_weights(chain.folder), dict(training.objective.state_dict()))


@pytest.mark.slow
def test_ctrl_c_side_by_side(tmp_path: Path, one_thread: None) -> None:
    process = start(tmp_path, [*FIT, "--chains", "2", "--jobs", "2", "--out", "run"])
    metrics = [tmp_path / "run" / f"seed-{seed}" / "metrics.jsonl" for seed in (0, 1)]
    wait_for(lambda: min(map(lines, metrics)) >= 20, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "interrupted and saved; continue with: python cli.py fit --resume run" in errors
    assert "Traceback" not in errors
    for path in metrics:
        assert torch.load(path.parent / "checkpoint.pt", weights_only=True)["step"] == lines(path) < 300
    process = start(tmp_path, ["--resume", "run", "--jobs", "2"])
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert {"seed 0: meta-step 300/300", "seed 1: meta-step 300/300"} <= {
        line.partition("  ")[0] for line in errors.splitlines()
    }
    for chain in Run.open(tmp_path / "run").chains:
        training = MetaTraining(chain.experiment)
        list(training)
        assert same(final_weights(chain.folder), dict(training.objective.state_dict()))
