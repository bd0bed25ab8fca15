"""Functions that are known by their values alone."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Laplace

from probact.problems.base import Optimizee, OptimizeeFamily
from probact.problems.prices import check_price
from probact.support.sight import Sight
from probact.support.trees import Params


@dataclass(frozen=True)
class BlackBox(Optimizee):
    """L functions f; theta is the query, and a rule sees y, what is observed of f there.

    theta_0 is where nothing has been asked yet: it is not a query, and costs no step.
    """

    shows: ClassVar[tuple[Sight, ...]] = (Sight.VALUE, Sight.GRADIENT)

    @abstractmethod
    def value(self, params: Params) -> Tensor:
        """f(theta), ``(L,)``, in the function's own unit."""

    @abstractmethod
    def nll_of(self, value: Tensor) -> Tensor:
        """``nll`` where f is ``value (L,)``."""

    def in_nats(self, gain: Tensor) -> Tensor:
        """What a ``gain (L,)`` in the function's own unit takes off ``nll``: all that halting sees is in nats."""
        return gain

    def covariance(self, params: Params) -> Tensor | None:
        """Of f between its K queries ``params``, name -> ``(K, L, *shape)``: ``(L, K, K)``.

        None but of functions drawn from a Gaussian process of mean 0 that is known.
        """
        return None

    def observe(self, value: Tensor, step: int) -> Tensor:
        """y of query number ``step`` where f is ``value (L,)``; by default without noise."""
        return value

    @property
    def stochastic(self) -> bool:
        return True

    def nll(self, params: Params) -> Tensor:
        return self.nll_of(self.value(params))

    def loss(self, params: Params, step: int) -> Tensor:
        return self.observe(self.value(params), step)


@dataclass(frozen=True)
class Regret(BlackBox):
    """L functions whose regret r = f - min f is known to training alone; x is min f, observed with Laplace noise.

    nll = r / s + log 2s, with s known: -log of the Laplace density of x at f.  A step that costs c nats costs
    lambda = s c in the function's own unit: then argmax_t [log p(t) - nll_t] = argmin_t [r_t + lambda t].

    :ivar lowest: min f, ``(L,)``.
    :ivar price: lambda, ``(L,)``, in the unit of f.
    :ivar scale: s, ``(L,)``.
    """

    lowest: Tensor
    price: Tensor
    scale: Tensor

    def given(self) -> Params | None:
        """``price``, which a search may know; a family may give more."""
        return {"price": self.price}

    def nll_of(self, value: Tensor) -> Tensor:
        return (value - self.lowest).clamp_min(0) / self.scale + (2 * self.scale).log()

    def in_nats(self, gain: Tensor) -> Tensor:
        return gain / self.scale

    def optimum(self) -> Tensor:
        return (2 * self.scale).log()

    def predictive(self, params: Params) -> Distribution:
        return Independent(Laplace(self.value(params).unsqueeze(-1), self.scale.unsqueeze(-1)), 1)

    def observations(self) -> Tensor:
        return self.lowest.unsqueeze(-1)


class RegretFamily(OptimizeeFamily):
    """A distribution over ``Regret``: its values have a unit, in which a step has a price.

    :ivar price: lambda, .01 unless another is asked for; ``cost``: c, what training charges for a step in nats.
    """

    shows = BlackBox.shows
    has_unit = True
    price: float = 0.01
    cost: float = 0.0514

    def priced(self, price: float, cost: float) -> Self:
        check_price(price)
        other = copy.copy(self)
        other.price, other.cost = price or self.price, cost
        return other

    def prices(self, num: int, generator: torch.Generator, spread: float = 1.0) -> tuple[Tensor, Tensor]:
        """``price`` and ``scale`` of ``num`` problems: log-uniform within a factor ``spread`` of ``price``."""
        factor = spread ** (2 * torch.rand(num, generator=generator) - 1)
        price = self.price * factor
        return price, price / self.cost
