"""Which devices this machine has."""

from __future__ import annotations

import torch

from probact.support.words import in_one_line


def check_device(name: str) -> None:
    """:raises ValueError: if this machine cannot use the device ``name``."""
    try:
        torch.device(name)
    except RuntimeError:
        raise ValueError(f"device {name!r}: expected cpu, cuda or the like of cuda:1") from None
    try:
        torch.empty(0, device=name).cpu()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used: {in_one_line(error).partition('.')[0][:100]}") from None
