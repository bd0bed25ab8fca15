"""Matrices with their singular values made about equal."""

from __future__ import annotations

import torch
from torch import Tensor

from probact.rules.base import SMALL

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def matrix_shape(shape: torch.Size) -> tuple[int, int] | None:
    """Rows and columns of a tensor of ``shape``, a filter seen as a matrix of its outputs; None if it is a vector."""
    if len(shape) < 2 or min(rows := shape[0], columns := shape.numel() // max(shape[0], 1)) < 2:
        return None
    return rows, columns


def orthogonalised(x: Tensor) -> Tensor:
    """``x (..., rows, columns)`` with its singular values brought to between about .7 and 1.2; 0 stays 0.

    The quintic iteration of Newton and Schulz with the coefficients of Muon (Jordan et al. 2024), five times, after
    division by the root of the sum of squares: singular values far below a hundredth of that stay smaller.
    """
    a, b, c = _NEWTON_SCHULZ
    upright = x.shape[-2] > x.shape[-1]
    x = x.mT if upright else x
    x = x / x.square().sum((-1, -2), keepdim=True).sqrt().clamp_min(SMALL**0.5)
    for _ in range(5):
        product = x @ x.mT
        x = a * x + (b * product + c * product @ product) @ x
    return x.mT if upright else x
