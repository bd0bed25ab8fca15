"""A run's folder in the hands of its user: killed early, used twice, left over, on another machine, anywhere."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from probact import LearnedOptimizer
from probact.runs.run import Run
from probact.support.locks import HeldError, held
from probact.training.loop import train
from tests.helpers.commands import ARGUMENTS, refused
from tests.helpers.trainings import same, tiny

pytestmark = pytest.mark.usefixtures("undrawn")


class Killed(Exception):  # noqa: N818 - stands for a signal
    pass


def kill(record: Any) -> None:
    raise Killed


@pytest.mark.parametrize("settings", [{}, {"halting": "none"}, {"gradient": "pes"}])
def test_a_run_has_a_checkpoint_before_its_first_meta_step(settings: dict[str, Any], tmp_path: Path) -> None:
    runs = {name: Run.create(tmp_path / name, tiny(**settings), [0]).chains[0] for name in ("whole", "killed")}
    train(runs["whole"], lambda record: None, lambda: False)
    with pytest.raises(Killed):
        train(runs["killed"], kill, lambda: False)
    assert runs["killed"].state()["step"] == 0
    half = runs["killed"].folder / ".checkpoint.pt-7"
    half.write_bytes(b"half")
    assert train(runs["killed"], lambda record: None, lambda: False)
    assert same(runs["killed"].state()["weights"], runs["whole"].state()["weights"])
    assert not half.exists()


def test_the_metrics_are_on_the_disk_before_the_checkpoint_that_counts_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (chain,) = Run.create(tmp_path / "run", tiny(), [0]).chains
    synced: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda file: synced.append(Path(f"/proc/self/fd/{file}").resolve().name) or fsync(file)
    )
    assert train(chain, lambda record: None, lambda: False)
    assert [name.partition("-")[0] for name in synced][-2:] == ["metrics.jsonl", ".checkpoint.pt"]


def test_two_processes_do_not_share_a_run(elsewhere: Path, run: Any) -> None:
    made = Run.create(Path("run"), tiny(), [0, 1])
    with held(made.chains[0].lock):
        with pytest.raises(HeldError, match=f"in use by process {os.getpid()}"):
            train(made.chains[0], lambda record: None, lambda: False)
        refused(run("fit", "--resume", "run"), "run/seed-0: in use by process", str(os.getpid()))
        assert not made.chains[0].checkpoint.exists()
    with held(made.folder / "lock"), pytest.raises(HeldError):
        Run.create(made.folder, tiny(), [0])
    assert train(made.chains[0], lambda record: None, lambda: False)


@pytest.mark.parametrize(
    "left", ["checkpoint.pt", "metrics.jsonl", "posterior.nc", "summary.json", "seed-3/checkpoint.pt"]
)
def test_what_is_left_of_another_run_is_never_taken_for_a_new_one(left: str, elsewhere: Path, run: Any) -> None:
    path = elsewhere / "out" / left
    path.parent.mkdir(parents=True)
    path.write_text("old")
    refused(run("fit", *ARGUMENTS, "--out", "out"), f"out holds {left} of another run", "--out")
    assert path.read_text() == "old"
    assert not (elsewhere / "out" / "experiment.json").exists()


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_a_lost_checkpoint_is_made_again_by_the_advice(seeds: list[int], elsewhere: Path, run: Any) -> None:
    made = Run.create(Path("a run"), tiny(meta_steps=1), seeds)
    for chain in made.chains:
        train(chain, lambda record: None, lambda: False)
    made.chains[-1].checkpoint.unlink()
    refused(run("halt-stats", "a run"), "no checkpoint.pt", "fit --resume 'a run'")


@pytest.mark.parametrize("chains", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_a_finished_run_stays_as_it_is_when_it_is_resumed(chains: str, elsewhere: Path, run: Any) -> None:
    """What it reached is shown again, and how to train longer works."""
    _, first, _ = run("fit", *ARGUMENTS, "--chains", chains, "--out", "a run")
    before = {path: path.read_bytes() for path in Path("a run").rglob("*") if path.is_file()}
    code, out, err = run("fit", "--resume", "a run")
    assert (code, err) == (0, "")
    assert {path: path.read_bytes() for path in Path("a run").rglob("*") if path.is_file()} == before
    assert out.splitlines()[0] == first.splitlines()[0]
    assert first[first.index("held-out loss") : first.index("\nwritten to")] in out
    assert "a run is finished: nothing was changed" in out
    longer = next(line for line in out.splitlines() if "To train longer" in line).partition("python cli.py ")[2]
    assert "--family quadratic" in longer
    assert run(*shlex.split(longer), "--out", "longer")[0] == 0
    code, out, _ = run("fit", "--resume", "a run", "--log", "csv")
    assert code == 0
    assert "logged to a run/" in out
    assert "a run is finished: nothing was changed but its log." in out


def test_a_finished_run_without_its_report_gets_it(elsewhere: Path, run: Any) -> None:
    made = Run.create(Path("a run"), tiny(meta_steps=2), [0])
    train(made.chains[0], lambda record: None, lambda: False)
    before = made.chains[0].checkpoint.read_bytes()
    assert run("fit", "--resume", "a run")[0] == 0
    made.posterior.write_bytes(b"damaged")
    assert run("fit", "--resume", "a run")[0] == 0
    assert run("plot", "a run")[0] == 0
    assert made.chains[0].checkpoint.read_bytes() == before


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run."""
    made = Run.create(tmp_path_factory.mktemp("moved") / "run", tiny(meta_steps=1), [0])
    train(made.chains[0], lambda record: None, lambda: False)
    return made.folder


@pytest.mark.parametrize("device", ["cuda:99", "xpu"])
def test_a_run_made_on_a_device_that_is_not_here(device: str, moved: Path, elsewhere: Path, run: Any) -> None:
    """It is read on the CPU; it is trained where its device is, or where the user says that another will do."""
    shutil.copytree(moved, "run")
    settings = json.loads(Path("run/experiment.json").read_text())
    Path("run/experiment.json").write_text(json.dumps({**settings, "device": device}))
    for arguments in (
        ("halt-stats", "run", "--num-optimizees", "4"),
        ("evaluate", "run", "--baselines", "none", "--num-optimizees", "4"),
        ("export", "run", "--out", "run.pt"),
    ):
        code, _, err = run(*arguments)
        assert code == 0, err
    assert Run.open(Path("run")).chains[0].load().training is False
    refused(run("fit", "--resume", "run"), "experiment.json", repr(device), 'set "device": "cpu" there')
    Path("run/experiment.json").write_text(json.dumps({**settings, "device": "cpu"}))
    code, _, err = run("fit", "--resume", "run")
    assert code == 0, err


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", *ARGUMENTS, "--out"),
        ("fit", "--resume"),
        ("halt-stats",),
        ("plot",),
        ("prior", "--out"),
        ("evaluate", "--family", "quadratic", "--out"),
        ("export", "run", "--out"),
    ],
)
def test_an_empty_path_is_none(arguments: tuple[str, ...], elsewhere: Path, run: Any) -> None:
    refused(run(*arguments, ""), "expected a path, got an empty text")
    assert not list(elsewhere.iterdir())


def test_an_empty_path_in_a_config(elsewhere: Path, run: Any) -> None:
    Path("config.toml").write_text('out = ""\n')
    refused(run("fit", "--config", "config.toml", *ARGUMENTS), "config.toml: out: expected a text, got ''")
    assert [path.name for path in elsewhere.iterdir()] == ["config.toml"]


@pytest.mark.parametrize("name", ["~/a run", "./größe/実験", "~/ü/../run", "o'neil $HOME"])
def test_paths_as_people_write_them(
    name: str, moved: Path, elsewhere: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made, continued as the advice says, exported, begun with, and worn under the same name."""
    home = elsewhere / "home"
    (home / "ü").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    place = home / name[2:] if name.startswith("~") else elsewhere / name
    shutil.copytree(moved, place)
    code, _, err = run("export", name, "--out", f"{name}.pt")
    assert code == 0, err
    weight = torch.nn.Parameter(torch.ones(3))
    assert LearnedOptimizer.from_pretrained([weight], f"{name}.pt").num_steps == 0
    for source in (name, f"{name}.pt"):
        arguments = ("evaluate", source, "--family", "quadratic", "--baselines", "none", "--num-optimizees", "4")
        assert run(*arguments, "--out", "judged")[0] == 0
        refused(run("fit", *ARGUMENTS, "--begin-with", source, "--rule", "sgd"), "--rule sgd")
    assert not (elsewhere / "~").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is where nothing can be written")
def test_a_folder_that_cannot_be_written_is_one_line(elsewhere: Path, run: Any) -> None:
    refused(run("fit", *ARGUMENTS, "--out", "/proc/run"), "/proc/run")
    refused(run("prior", "--out", "/proc/prior.png"), "/proc/prior.png")
