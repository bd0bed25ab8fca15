"""Libraries that an extra of the package brings: what to install where one is missing."""

from __future__ import annotations

from importlib.util import find_spec

EXTRAS = {
    "fit": ("click", "h5netcdf", "h5py", "pooch", "pyro", "scipy", "sklearn", "tqdm", "xarray"),
    "plots": ("arviz", "matplotlib"),
}
"""Extra -> the modules that it brings, beside torch and NumPy, which suffice for ``LearnedOptimizer``."""


def install(extra: str) -> str:
    """The command that installs ``extra``."""
    return f"python -m pip install 'probact[{extra}]'"


def is_installed(extra: str) -> bool:
    """Whether all that ``extra`` brings is there; nothing is imported."""
    return all(find_spec(module) for module in EXTRAS[extra])


def remedy(error: ImportError) -> str | None:
    """What to say of ``error``, if it is that a library of an extra is missing."""
    missing = (error.name or "").partition(".")[0]
    extra = next((extra for extra, modules in EXTRAS.items() if missing in modules), None)
    return None if extra is None else f"{missing} is not installed; get it with: {install(extra)}"
