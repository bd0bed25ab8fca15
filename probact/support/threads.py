"""How many threads pay: small tensors are done sooner by one, as several wait for each other at every operation."""

from __future__ import annotations

import torch

COORDINATES_A_THREAD = 4096
"""Measured on two cores, an LSTM rule: 640 coordinates run 1.3 times longer on two threads than on one, 2,560 as long,
36,000 two thirds as long; beside other work two threads at 640 coordinates nearly stand still."""


def use_threads(num_coordinates: int, asked: int | None = None) -> int:
    """Let torch use ``asked`` threads, or else as many of its own as ``num_coordinates`` keep busy; gives how many."""
    torch.set_num_threads(asked or max(1, min(torch.get_num_threads(), num_coordinates // COORDINATES_A_THREAD)))
    return torch.get_num_threads()
