"""A matrix with all its directions made equally long."""

from __future__ import annotations

import torch
from torch import Tensor

from probact.rules.base import SMALL

_DAMPING = 1e-3


def whiten(matrix: Tensor) -> Tensor:
    """(M M^T + e I)^(-1/2) M over the shorter side of each matrix ``(L, m, ...)``: one-sided, damped.

    All directions of M count alike (Carlson et al. 2015; Gupta, Koren and Singer 2018; Jordan et al. 2024), so that
    only the longest ones of a minibatch's gradient do not set the pace.  What is not a matrix comes back as it is.  The
    square root is Newton's coupled iteration (Higham 2008, eq 6.35).
    """
    if matrix.dim() < 3:
        return matrix
    rows = matrix.flatten(2)
    rows = rows if rows.shape[1] <= rows.shape[2] else rows.mT
    product = rows @ rows.mT
    identity = torch.eye(product.shape[-1], dtype=product.dtype, device=product.device)
    trace = product.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
    left, inverse = product / (trace + SMALL) + _DAMPING / len(identity) * identity, identity
    for _ in range(10):
        middle = 1.5 * identity - 0.5 * inverse @ left
        left, inverse = left @ middle, middle @ inverse
    white = inverse @ rows
    white = white if white.shape[1:] == matrix.flatten(2).shape[1:] else white.mT
    return white.reshape(matrix.shape)
