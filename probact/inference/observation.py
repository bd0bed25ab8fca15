"""The observed site: x of each problem under p(x | theta_t)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import Distribution, constraints

from probact.support.trees import map_params
from probact.unrolling.rollout import Rollout


class Observation(TorchDistribution):
    """p(x | theta_t) of L problems, for ``t (*sample, L)``: at the rollout's own x it is a table, -nll_t.

    Other x, and draws, come from the family's predictive distribution; the rollout must keep its path then.

    :param rollout: of K steps; t must be in 1..K.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, rollout: Rollout, t: Tensor, observed: Tensor | None = None) -> None:
        self.rollout, self.t = rollout, t
        self.observed = rollout.observed if observed is None else observed
        num = rollout.nll.shape[1]
        batch = torch.broadcast_shapes(t.shape, (num,))
        super().__init__(batch, self.observed.shape[1:], validate_args=False)

    @property
    def support(self) -> Any:
        return constraints.independent(constraints.real, len(self.event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> Observation:
        return Observation(self.rollout, self.t.expand(batch_shape), self.observed)

    def log_prob(self, value: Tensor) -> Tensor:
        if value is self.observed or (value.shape == self.observed.shape and torch.equal(value, self.observed)):
            problem = torch.arange(self.rollout.nll.shape[1], device=self.t.device)
            return self.rollout.log_likelihood[self.t - 1, problem]
        shape = torch.broadcast_shapes(value.shape, (*self.batch_shape, *self.event_shape))
        values = value.expand(shape).flatten(0, -2 - len(self.event_shape)) if len(shape) > 1 else value
        t = self.t.expand(shape[: len(shape) - len(self.event_shape)])
        found = [self._predictive(steps).log_prob(x) for steps, x in zip(_rows(t), values, strict=True)]
        return torch.stack(found).view(t.shape)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        t = self.t.expand(*sample_shape, *self.batch_shape)
        drawn = torch.stack([self._predictive(steps).sample() for steps in _rows(t)])
        return drawn.view(*t.shape, *self.event_shape)

    def _predictive(self, t: Tensor) -> Distribution:
        """p(. | theta_t), batch ``(L,)``, for one t a problem."""
        path, optimizee = self.rollout.path, self.rollout.optimizee
        if optimizee is None or optimizee.observations() is None:
            what = "losses alone" if optimizee is None else type(optimizee).__name__
            raise ValueError(f"site x: expected problems with a predictive distribution, got {what}")
        if path is None:
            raise ValueError("site x: expected a rollout that keeps its path, by rollout.with_path(rule), got none")
        problem = torch.arange(len(t), device=t.device)
        predictive = optimizee.predictive(map_params(lambda tensor: tensor[t - 1, problem], path))
        assert predictive is not None
        return predictive


def _rows(t: Tensor) -> Tensor:
    """``(*sample, L)`` as ``(num, L)``."""
    return t.reshape(-1, t.shape[-1])
