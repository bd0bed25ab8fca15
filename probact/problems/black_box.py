"""Functions that are known by their values alone."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from probact.problems.base import Optimizee
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
