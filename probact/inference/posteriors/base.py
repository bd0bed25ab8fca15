"""Halting posteriors: from features of an unroll to q(t | x, T).

A ``HaltingPosterior`` is the trained head; what it returns is a ``HaltingDistribution`` over t given every T at
once, whose tables are computed when asked for and indexed ``[T - 1, l, t - 1]``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from probact.rules.base import UpdateRule
from probact.support.recurrent import gru_step
from probact.support.registry import Registry
from probact.unrolling import looks as looks_at_x
from probact.unrolling.progress import NUM_FEATURES

NO_HALTING = "none"
"""The name of an optimizer without a halting posterior; the exact one stands in the tables then."""


@dataclass(frozen=True)
class HaltingDistribution(ABC):
    """q(t | x, T) for T = 1..K from one logit per step, ``logits (K, L)``.

    Row T reads the first T logits only.  ``expect``, ``entropy`` and ``log_marginal`` follow from ``log_prob``;
    subclasses may have cheaper forms.
    """

    name: ClassVar[str]
    objective: ClassVar[str] = "elbo"
    """The objective it is trained with unless another is asked for."""

    online: ClassVar[bool] = False
    """Whether ``hazard`` exists: q(t|x,T) for t < T does not depend on T, so that halting can be followed online."""

    has_ponder: ClassVar[bool] = False
    """Whether ``ponder`` exists: N and R of Graves' ponder cost."""

    logits: Tensor

    @staticmethod
    def hazard(logit: Tensor, halted: Tensor) -> Tensor:
        """lambda_s = q(s|x) / q(t >= s|x) from the logit of step s and the mass before it, each ``(L,)``."""
        raise NotImplementedError

    def ponder(self) -> tuple[Tensor, Tensor]:
        """N, the steps until halting is certain, and R, the mass left there, at T = K; each ``(L,)``."""
        raise NotImplementedError

    @staticmethod
    @abstractmethod
    def initial_bias(nu: float) -> float:
        """Where the head's bias starts, so that q is near the prior with parameter ``nu``."""

    @abstractmethod
    def log_prob(self) -> Tensor:
        """log q(t|x,T), ``(T, L, t)``; -inf for t > T."""

    def log_last_row(self) -> Tensor:
        """log q(t|x,K), ``(K, L)``: the row of the largest T."""
        return self.log_prob()[-1].T

    def expect(self, values: Tensor) -> Tensor:
        """E_q(t|x,T)[values_t], ``(T, L)``, for ``values (K, L)``."""
        return torch.einsum("Tlt,tl->Tl", self.log_prob().exp(), values)

    def entropy(self) -> Tensor:
        """-E_q(t|x,T)[log q(t|x,T)], ``(T, L)``."""
        return torch.special.entr(self.log_prob().exp()).sum(-1)

    def log_marginal(self, log_horizon: Tensor) -> Tensor:
        """log q(t|x) = log sum_T p(T) q(t|x,T), ``(t, L)``, for ``log_horizon (T,)`` or ``(T, L)`` (eq 7)."""
        log_horizon = log_horizon.reshape(len(log_horizon), -1, 1)
        return torch.logsumexp(log_horizon + self.log_prob(), 0).T


POSTERIORS: Registry[HaltingDistribution] = Registry("halting posterior", HaltingDistribution, "probact.posteriors")
"""Every halting posterior by its name."""


def cumulated_before(cumulated: Tensor) -> Tensor:
    """Shift a cumulative sum over steps to the step before: row t holds the sum of the rows < t."""
    return torch.cat([torch.zeros_like(cumulated[:1]), cumulated[:-1]])


class HaltingPosterior(nn.Module):
    """The head: features of steps 1..K -> logits -> a ``HaltingDistribution``.

    A gated recurrent unit (Cho et al. 2014) of ``hidden_size`` runs over the steps and a linear output reads it, so
    that the logit of step t depends on the features of steps 1..t.

    :param name: a name in ``POSTERIORS``.
    :param num_features: F.
    :param nu: the prior's probability to continue, in (0, 1); q starts near that prior.
    :param looks: how it sees x, if it does.
    :raises ValueError: on an unknown name.
    """

    def __init__(
        self,
        name: str,
        num_features: int,
        nu: float,
        hidden_size: int = 32,
        looks: looks_at_x.Looks | None = None,
    ) -> None:
        super().__init__()
        self.nu = nu
        self.looks = looks
        self.distribution: type[HaltingDistribution] = POSTERIORS[name]
        self.memory = nn.GRU(num_features, hidden_size)
        self.output = nn.Linear(hidden_size, 1)
        with torch.no_grad():
            self.output.weight.mul_(0.1)
            self.output.bias.fill_(self.distribution.initial_bias(nu))

    @classmethod
    def of(
        cls, rule: UpdateRule, name: str, nu: float, looks: looks_at_x.Looks | None = None, hidden_size: int = 32
    ) -> Self:
        """A head for ``rule``: it sees the rule's features, those of the unroll's progress, and those of ``looks``."""
        of_x = 0 if looks is None else looks_at_x.NUM_FEATURES
        return cls(name, rule.num_features + NUM_FEATURES + of_x, nu, hidden_size, looks)

    def fits(self, other: HaltingPosterior) -> bool:
        """Whether the weights of ``other`` mean the same here: of one kind, one shape."""
        shapes, others = ([weight.shape for weight in head.parameters()] for head in (self, other))
        return self.distribution is other.distribution and shapes == others

    def forward(self, features: Tensor) -> HaltingDistribution:
        """``features (K, L, F)`` -> q(t | x, T) for all T."""
        hidden, _ = self.memory(features)
        return self.distribution(self.output(hidden).squeeze(-1))

    def step(self, features: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One step: ``features (L, F)`` and the memory of the step before -> logit ``(L,)`` and the next memory."""
        hidden = features.new_zeros(len(features), self.memory.hidden_size) if hidden is None else hidden
        hidden = gru_step(features, hidden, self.memory.all_weights[0])
        return self.output(hidden).squeeze(-1), hidden
