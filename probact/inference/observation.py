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
        batch = torch.broadcast_shapes(self.batch_shape, value.shape[: value.dim() - self.event_dim])
        values = value.expand(*batch, *self.event_shape).reshape(-1, batch[-1], *self.event_shape)
        steps = self.t.expand(batch).reshape(-1, batch[-1])
        found = [self._predictive(t).log_prob(x) for t, x in zip(steps, values, strict=True)]
        return torch.stack(found).view(batch)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        batch = (*sample_shape, *self.batch_shape)
        drawn = [self._predictive(t).sample() for t in self.t.expand(batch).reshape(-1, batch[-1])]
        return torch.stack(drawn).view(*batch, *self.event_shape)

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
