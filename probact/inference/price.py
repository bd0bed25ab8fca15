"""The price of a step and the probability to continue: one number, written in two ways."""

from __future__ import annotations

import math


def price_of(nu: float, kl_scale: float = 1.0) -> float:
    """c = -kappa log nu: what the KL charges for a step, in nats; of a loss that is a mean of n observations c / n."""
    return -kl_scale * math.log(nu)


def nu_of(price: float, kl_scale: float = 1.0) -> float:
    """nu = e^(-c / kappa), the inverse of ``price_of``."""
    return math.exp(-price / kl_scale)


def scale_of(price: float, cost: float) -> float:
    """s = lambda / c: the Laplace scale at which a step of ``cost`` c nats costs ``price`` lambda in f's own unit.

    With nll_t = r_t / s + log 2s the exact posterior, sharpened by kappa, has its mode at argmin_t [r_t + lambda t],
    for c = ``price_of(nu, kappa)``.
    """
    return price / cost
