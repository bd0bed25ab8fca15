"""Problems seen through other units: every coordinate of theta multiplied by a factor of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.distributions import Distribution

from probact.problems.base import Labels, Optimizee, Score
from probact.support.trees import Params, map_params


@dataclass(frozen=True)
class Scaled(Optimizee):
    """``inner`` as a function of theta' with theta = ``scale`` theta' (name -> ``(L, *shape)``).

    The optimizer walks theta', from theta_0 / scale and with scale times the gradient: what it learns cannot rest
    on the sizes that steps and gradients have in its training problems.  The loss stays as it is, as a step has a price
    in its nats, and so do optimum and test score.  Lv, Jiang and Li 2017, "Learning Gradient Descent: Better
    Generalization and Longer Horizons" (there log scale is uniform).
    """

    scale: Params
    inner: Optimizee

    @classmethod
    def random(cls, inner: Optimizee, spread: float, generator: torch.Generator) -> Self:
        """log scale ~ N(0, spread^2), independent from coordinate to coordinate."""
        scale = map_params(
            lambda tensor: torch.exp(spread * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)),
            inner.theta0,
        )
        return cls(map_params(torch.div, inner.theta0, scale), scale, inner)

    def _theta(self, params: Params) -> Params:
        return map_params(torch.mul, params, self.scale)

    @property
    def stochastic(self) -> bool:
        return self.inner.stochastic

    @property
    def quadratic(self) -> bool:
        return self.inner.quadratic

    def nll(self, params: Params) -> Tensor:
        return self.inner.nll(self._theta(params))

    def predictive(self, params: Params) -> Distribution | None:
        return self.inner.predictive(self._theta(params))

    def observations(self) -> Tensor | None:
        return self.inner.observations()

    def loss(self, params: Params, step: int) -> Tensor:
        return self.inner.loss(self._theta(params), step)

    def optimum(self) -> Tensor | None:
        return self.inner.optimum()

    def held_out_labels(self, params: Params) -> Labels | None:
        return self.inner.held_out_labels(self._theta(params))

    def test_score(self, params: Params) -> Score | None:
        return self.inner.test_score(self._theta(params))
