"""Points of the unit box where a search works out what to expect."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from probact.support.arrays import Array


@cache
def candidates(dim: int) -> Tensor:
    """Points of [0, 1]^d where the improvement is worked out first, ``(C, d)``: a grid, or Sobol's."""
    if dim == 1:
        return torch.linspace(0, 1, 61, dtype=torch.float64).unsqueeze(-1)
    num = 2 ** min(10, 7 + dim)
    return torch.quasirandom.SobolEngine(dim, scramble=True, seed=0).draw(num, dtype=torch.float64)


@cache
def offsets(dim: int) -> tuple[Tensor, Tensor]:
    """Points around one, ``(C', d)``: at many distances down to 5e-4, and within 1 of it."""
    if dim == 1:
        far = 5e-4 * 2.0 ** torch.arange(7, dtype=torch.float64)
        return torch.cat([-far, far]).unsqueeze(-1), torch.linspace(-1, 1, 9, dtype=torch.float64).unsqueeze(-1)
    random = torch.Generator().manual_seed(dim)
    num = 16 + 8 * dim
    ways = torch.randn(2 * num, dim, generator=random, dtype=torch.float64)
    ways = ways / ways.norm(dim=1, keepdim=True)
    sizes = torch.rand(2 * num, 1, generator=random, dtype=torch.float64)
    near = torch.cat([torch.zeros(1, dim, dtype=torch.float64), ways[num:] * sizes[num:]])
    return ways[:num] * 2e-3 * 150 ** sizes[:num], near


def candidates_like(dim: int, like: Array) -> Array:
    """Of its type and kind."""
    return _numpy(dim)[0] if isinstance(like, np.ndarray) else candidates(dim).to(like)


def offsets_like(dim: int, like: Array) -> tuple[Array, Array]:
    """Of its type and kind."""
    if isinstance(like, np.ndarray):
        return _numpy(dim)[1:]
    around, near = offsets(dim)
    return around.to(like), near.to(like)


@cache
def _numpy(dim: int) -> tuple[Array, Array, Array]:
    around, near = offsets(dim)
    return candidates(dim).numpy(), around.numpy(), near.numpy()
