"""Covariances of stationary Gaussian processes of variance 1."""

from __future__ import annotations

from torch import Tensor

from probact.support.refusals import said

KERNELS = ("rbf", "matern52")


def check_kernel(what: str, kernel: str) -> None:
    """:raises ValueError: if there is none of that name."""
    if kernel not in KERNELS:
        raise ValueError(f"{what}: expected kernel {' or '.join(KERNELS)}, got {said(kernel)}")


def correlation(squares: Tensor, kernel: str) -> Tensor:
    """k at squared distances r^2 in length-scales.

    ``rbf``: e^{-r^2 / 2}; ``matern52``: (1 + s + s^2 / 3) e^{-s}, s = sqrt(5) r (Rasmussen and Williams 2006, ch. 4).
    """
    if kernel == "rbf":
        return (-0.5 * squares).exp()
    s = (5 * squares).clamp_min(1e-30).sqrt()
    return (1 + s + s.square() / 3) * (-s).exp()
