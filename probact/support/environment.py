"""What a computation ran on: versions, machine, device, threads."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from probact.support.version import __version__

LIBRARIES = ("torch", "pyro-ppl", "numpy", "xarray", "arviz")


def environment(device: str = "cpu") -> dict[str, str]:
    """Each by its name, as text; a library that is not installed is left out.

    :param device: of torch, such as cpu or cuda:1.
    """
    found = {"probact": __version__, "Python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    of_gpu = f" ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else ""
    return {
        **found,
        "system": f"{platform.system()} {platform.machine()}",
        "device": f"{device}{of_gpu}",
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()}",
    }
