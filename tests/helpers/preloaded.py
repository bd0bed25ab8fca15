"""Processes of their own that need not import torch first: each is forked off a server that has.

A process knows nothing of the test's but what it is given, as one that is spawned, and begins in the test's folder and
environment.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

CLI = Path(__file__).parents[2] / "cli.py"
HEAVY = ["pytest", "torch._dynamo", "sklearn.utils", "scipy.stats", "h5netcdf", "arviz", "matplotlib.pyplot"]
OURS = ["probact.cli.fit", "probact.training.loop", "probact.reports.run_report", "probact.reports.halting_figures"]


class _Process(ForkServerProcess):
    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        self.environment = dict(os.environ)

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self.environment)
        super().run()


class _Context(ForkServerContext):
    _name = "forkserver"
    Process = _Process  # type: ignore[assignment]


CONTEXT = _Context()
CONTEXT.set_forkserver_preload([*HEAVY, *OURS])


def use() -> None:
    """From here on processes that this one starts side by side are such; those that they start are spawned."""
    from probact.curves import making
    from probact.training import side_by_side

    for module in (making, side_by_side):
        module.get_context = lambda _: CONTEXT  # type: ignore[attr-defined]


class Begun:
    """A process that has begun in ``folder``, with what the tests ask of a ``Popen``."""

    def __init__(self, folder: Path, environment: dict[str, str], work: Callable[..., None], *given: Any) -> None:
        place = Path(tempfile.mkdtemp())
        weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
        self._texts = [place / "out", place / "err"]
        self._process = CONTEXT.Process(target=_do, args=(folder, environment, self._texts, work, *given))
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """:raises TimeoutError: if it goes on for longer than ``timeout`` seconds."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            raise TimeoutError(f"still running after {timeout} s")
        out, err = (path.read_text() if path.exists() else "" for path in self._texts)
        return out, err

    def output(self) -> str:
        """What it has printed once it has ended well."""
        out, err = self.communicate(timeout=300)
        assert self.returncode == 0, out + err
        return out


def cli(folder: Path, *arguments: str, **environment: str) -> Begun:
    """``python cli.py ARGUMENTS``."""
    return Begun(folder, environment, _command, arguments)


def python(
    folder: Path, code: str, *arguments: str, forget: Iterable[str] = (), missing: Iterable[str] = (), **env: str
) -> Begun:
    """``python -c CODE ARGUMENTS``; torch is loaded, probact is not.

    :param forget: libraries that are not loaded either.
    :param missing: libraries that cannot be loaded.
    """
    return Begun(folder, env, _code, code, arguments, tuple(forget), tuple(missing))


def script(folder: Path, path: Path, *arguments: str) -> Begun:
    """``python PATH ARGUMENTS``."""
    return python(folder, f"import runpy; runpy.run_path({str(path)!r}, run_name='__main__')", *arguments)


def _do(folder: Path, environment: dict[str, str], texts: list[Path], work: Callable[..., None], *given: Any) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    sys.path[:0] = [place for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place]
    for number, path in enumerate(texts, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        work(*given)
    except SystemExit:
        raise
    except BaseException:  # as Python itself shows it
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        sys.exit(1)


def _command(arguments: Sequence[str]) -> None:
    sys.argv = [str(CLI), *arguments]
    from probact.__main__ import main

    main()


def _code(code: str, arguments: Sequence[str], forget: Sequence[str], missing: Sequence[str]) -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] in {"probact", *forget, *missing}:
            del sys.modules[name]
    sys.modules.update(dict.fromkeys(missing))  # type: ignore[arg-type]
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
