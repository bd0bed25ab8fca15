"""Covariances of stationary Gaussian processes of variance 1."""

from __future__ import annotations

from probact.support.arrays import Array, operations
from probact.support.refusals import said

KERNELS = ("rbf", "matern52")


def check_kernel(what: str, kernel: str) -> None:
    """:raises ValueError: if there is none of that name."""
    if kernel not in KERNELS:
        raise ValueError(f"{what}: expected kernel {' or '.join(KERNELS)}, got {said(kernel)}")


def correlation(squares: Array, kernel: str) -> Array:
    """k at squared distances r^2 in length-scales, of torch's or of numpy's.

    ``rbf``: e^{-r^2 / 2}; ``matern52``: (1 + s + s^2 / 3) e^{-s}, s = sqrt(5) r (Rasmussen and Williams 2006, ch. 4).
    """
    do = operations(squares)
    if kernel == "rbf":
        return do.exp(-0.5 * squares)
    s = do.sqrt(do.at_least(5 * squares, 1e-30))
    return (1 + s + s * s / 3) * do.exp(-s)
