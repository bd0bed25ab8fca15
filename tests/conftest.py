from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch

from probact.problems.data.sets import VARIABLE
from tests.helpers import preloaded
from tests.helpers.commands import ARGUMENTS, call
from tests.helpers.small_images import write_all

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("TQDM_DISABLE", "1")


def pytest_configure(config: pytest.Config) -> None:
    """Small image files in a folder of this session, before the tests are collected: some sample every family then."""
    folder = tempfile.mkdtemp(prefix="probact-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_all(Path(folder))
    os.environ[VARIABLE] = folder
    if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core: one thread each, also in the processes that tests start
        os.environ["OMP_NUM_THREADS"] = "1"
        torch.set_num_threads(1)
    preloaded.use()


@pytest.fixture(autouse=True)
def _clean_state() -> Iterator[None]:
    """Each test starts from the same random state and an empty parameter store, in single precision."""
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    pyro.enable_validation(True)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def double() -> None:
    torch.set_default_dtype(torch.float64)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda *arguments: call(capsys, monkeypatch, *arguments)


@pytest.fixture
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports come without their figures, which take most of a small run's time, but in tests marked as drawn."""

    def draw_nothing(*given: Any, **_: Any) -> list[Path]:
        (folder,) = (one for one in given if isinstance(one, Path))
        folder.mkdir(parents=True, exist_ok=True)
        return []

    if request.node.get_closest_marker("drawn") is None:
        for module in ("curves_figures", "evaluation_figures", "halting_figures"):
            monkeypatch.setattr(f"probact.reports.{module}.draw_all", draw_nothing)


_FITTED: dict[tuple[str, ...], Path] = {}


@pytest.fixture
def fitted(run: Any, undrawn: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """What ``fit`` with these options writes, without figures: trained once in a session, and copied."""

    def copy(folder: str, *options: str) -> None:
        if options not in _FITTED:
            kept = tmp_path_factory.mktemp("fitted") / "run"
            code, _, err = run("fit", *ARGUMENTS, *options, "--out", str(kept))
            assert code == 0, err
            _FITTED[options] = kept
        shutil.copytree(_FITTED[options], folder)

    return copy
