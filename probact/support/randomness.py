"""Random bits as a function of a key and a counter: repeatable, whatever was drawn before."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 2^64 / golden ratio as a signed integer: the increment of splitmix64
BITS = 62


def _mix(bits: Tensor) -> Tensor:
    """The output function of splitmix64 (Steele, Lea and Flood 2014) on int64, which wraps as uint64 does."""
    for shift, multiplier in ((30, -4658895280553007687), (27, -7723592293110705685)):
        bits = (bits ^ ((bits >> shift) & ((1 << (64 - shift)) - 1))) * multiplier
    return bits ^ ((bits >> 31) & ((1 << 33) - 1))


def uniform_bits(keys: Tensor, counters: Tensor) -> Tensor:
    """Uniform integers in [0, 2^``BITS``), int64, for every pair of ``keys`` and ``counters`` (they broadcast)."""
    return _mix(_mix(keys) + counters * _GOLDEN) & ((1 << BITS) - 1)


_STREAMS = ("weights", "train", "horizon", "validation", "test", "tuning", "draws", "perturbations", "price", "steps")


def random_stream(stream: str, seed: int, index: int = 0) -> torch.Generator:
    """Random numbers as a function of what they are for: no state to save, and no two streams overlap.

    :param stream: ``weights``, ``train``, ``horizon``, ``validation``, ``test``, ``tuning``, ``draws``,
        ``perturbations``, ``price`` or ``steps``.
    :param index: which draw of the stream, for ``train`` the meta-step.
    """
    sequence = np.random.SeedSequence((_STREAMS.index(stream), seed, index))
    return torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))
