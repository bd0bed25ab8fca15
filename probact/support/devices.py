"""Which devices this machine has."""

from __future__ import annotations

import torch


def check_device(name: str) -> None:
    """:raises ValueError: if this machine cannot use the device ``name``."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used: {str(error).partition('.')[0]}") from None
