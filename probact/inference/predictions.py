"""Observations as a halting posterior predicts them: new x ~ p(. | theta_t), t ~ q(t|x)."""

from __future__ import annotations

import torch
from torch import Tensor

from probact.problems.base import Optimizee
from probact.rules.base import UpdateRule
from probact.unrolling.looks import Looks
from probact.unrolling.rollout import returned_params, returns_best


def draw_observations(
    rule: UpdateRule, optimizee: Optimizee, t: Tensor, random: torch.Generator, looks: Looks | None = None
) -> Tensor:
    """New x at ``t (num_draws, L)`` in 1..H, ``(num_draws, L, n, ...)``, of problems that have ``predictive``.

    One walk over the problems: no path is kept.
    """
    drawn: Tensor | None = None
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=random)))
        path = returned_params(rule, optimizee, int(t.max()), returns_best(rule, optimizee, looks))
        for step, params in enumerate(path, 1):
            predictive = optimizee.predictive(params)
            assert predictive is not None
            x = predictive.sample((len(t),))
            here = (t == step).to(x.device).view(*t.shape, *[1] * (x.dim() - 2))
            drawn = torch.where(here, x, x if drawn is None else drawn)
    assert drawn is not None
    return drawn
