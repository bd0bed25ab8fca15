"""All that changes with the meta-step."""

from __future__ import annotations

import math
from dataclasses import replace

from probact.inference.price import nu_of, price_of
from probact.runs.experiment import Experiment

FIRST_SHARE = 0.1
"""The first horizon, as a share of H."""
FIRST_NU = 0.95
"""nu of the first meta-step, where it is annealed."""


def horizon_at(step: int, horizon: int, num_steps: int) -> int:
    """Steps of the unroll at meta-step ``step`` (from 0): H 0.1^(1 - step / num_steps), at least 1 and at most H.

    Short unrolls come first: their gradients are small and cheap.  The horizon doubles at equal intervals (Chen et al.
    2020, arXiv 2010.09089, section 3.1, by stages; the thesis' V7 grows it linearly).

    >>> [horizon_at(step, 100, 10) for step in (0, 1, 5, 9, 10, 11)]
    [10, 13, 32, 79, 100, 100]
    """
    return horizon if step >= num_steps else max(1, round(horizon * FIRST_SHARE ** (1 - step / num_steps)))


def drawn_horizon(share: float, horizon: int, horizon_from: int) -> int:
    """Steps of an unroll, log-uniform between ``horizon_from`` and H for a uniform ``share``; H if that is 0.

    >>> [drawn_horizon(share, 1000, 10) for share in (0, 0.5, 1)], drawn_horizon(0.5, 1000, 0)
    ([10, 100, 1000], 1000)
    """
    return round(horizon_from * (horizon / horizon_from) ** share) if horizon_from else horizon


def nu_at(step: int, nu: float, num_steps: int) -> float:
    """nu at meta-step ``step`` (from 0): its price -log nu rises from that of .95 by equal factors, over ``num_steps``.

    A nu above .95 is kept all along.

    >>> [round(nu_at(step, 0.5, 4), 3) for step in (0, 2, 4, 5)], nu_at(0, 0.99, 4)
    ([0.95, 0.828, 0.5, 0.5], 0.99)
    """
    if step >= num_steps or nu >= FIRST_NU:
        return nu
    first, last = math.log(price_of(FIRST_NU)), math.log(price_of(nu))
    return nu_of(math.exp(first + step / num_steps * (last - first)))


def settings_at(step: int, share: float, experiment: Experiment) -> Experiment:
    """At the nu of meta-step ``step``: annealed, or ``share`` of the way through a range of prices."""
    if experiment.nu_warmup:
        return replace(experiment, prior_nu=nu_at(step, experiment.prior_nu, experiment.nu_warmup))
    return experiment.at_price(share)


def weight_at(step: int, experiment: Experiment) -> float:
    """What imitation counts at meta-step ``step`` (from 0): falls on a line to 0 at ``imitation_steps``."""
    if not experiment.imitate or step >= experiment.imitation_steps:
        return 0.0
    return experiment.imitation_weight * (1 - step / experiment.imitation_steps)
