"""Halting posteriors: from features of an unroll to q(t | x, T).

A ``HaltingPosterior`` is the trained head; what it returns is a ``HaltingDistribution`` over t given every T at
once, whose tables are computed when asked for.  Letters: K steps, L problems, F features; tables are indexed
``[T - 1, l, t - 1]``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from probact.registry import POSTERIORS


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

    logits: Tensor

    @staticmethod
    def hazard(logit: Tensor, halted: Tensor) -> Tensor:
        """lambda_s = q(s|x) / q(t >= s|x) from the logit of step s and the mass before it, each ``(L,)``."""
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


def _before(cumulated: Tensor) -> Tensor:
    """Shift a cumulative sum over steps to the step before: row t holds the sum of the rows < t."""
    return torch.cat([torch.zeros_like(cumulated[:1]), cumulated[:-1]])


class Conditioned(HaltingDistribution):
    """Scores l_t that do not depend on T, conditioned on t <= T: q(t|T) = e^{l_t} / sum_{s <= T} e^{l_s}.

    So does the exact posterior depend on T, p(t|x,T) ~ p(t|T) e^{-nll_t}: with the right scores nothing is lost.
    """

    @abstractmethod
    def scores(self) -> Tensor:
        """l_t up to a constant, ``(K, L)``."""

    def _scores(self) -> tuple[Tensor, Tensor]:
        scores = self.scores()
        return scores, torch.logcumsumexp(scores, 0)

    def log_prob(self) -> Tensor:
        scores, normaliser = self._scores()
        above = torch.ones(len(scores), len(scores), dtype=torch.bool, device=scores.device).triu(1)
        return (scores.T.unsqueeze(0) - normaliser.unsqueeze(-1)).masked_fill(above.unsqueeze(1), -math.inf)

    def log_last_row(self) -> Tensor:
        scores, normaliser = self._scores()
        return scores - normaliser[-1]

    def expect(self, values: Tensor) -> Tensor:
        # Running mean E_T = E_{T-1} + q(T|T) (v_T - E_{T-1}): prefix sums of e^l would underflow.
        scores, normaliser = self._scores()
        weight = (scores - normaliser).exp().unbind(0)
        mean = values[0]
        means = [mean]
        for q, value in zip(weight[1:], values[1:].unbind(0), strict=True):
            mean = mean + q * (value - mean)
            means.append(mean)
        return torch.stack(means)

    def entropy(self) -> Tensor:
        scores, normaliser = self._scores()
        return normaliser - self.expect(scores)

    def log_marginal(self, log_horizon: Tensor) -> Tensor:
        scores, normaliser = self._scores()
        weight = log_horizon.reshape(len(scores), -1) - normaliser
        return scores + torch.logcumsumexp(weight.flip(0), 0).flip(0)


class Scores(Conditioned):
    """Scores that are given, in place of a head's logits."""

    @staticmethod
    def initial_bias(nu: float) -> float:
        return 0.0

    def scores(self) -> Tensor:
        return self.logits


@POSTERIORS.register("softmax")
class Softmax(Conditioned):
    """Softmax over the first T cumulated logits (the thesis' ACT optimizer).

    l_t = l_{t-1} + Delta_t  (Sander 2017, eq 11-13).  With Delta_t = log r for all t this is the prior p(t|T), and that
    is where it starts.
    """

    @staticmethod
    def initial_bias(nu: float) -> float:
        return 0.5 * math.log(nu)

    def scores(self) -> Tensor:
        return self.logits.cumsum(0)


@POSTERIORS.register("truncated")
class TruncatedStickBreaking(Conditioned):
    """Stick-breaking whose row T is conditioned on t <= T, as the prior's is, in place of a remainder at T.

    lambda_t = sigmoid(logit_t), q(t|T) = lambda_t prod_{s<t} (1 - lambda_s) / (1 - prod_{s<=T} (1 - lambda_s)).  The
    constant hazard 1 - r gives the prior p(t|T) (there it starts), and hazards can be chosen that give the exact
    p(t|x,T) for every T at once.  A remainder at T cannot: it costs ~0.4 nats at nu = 0.95, H = 100, whatever the
    hazards.
    """

    @staticmethod
    def initial_bias(nu: float) -> float:
        hazard = -math.expm1(0.5 * math.log(nu))
        return math.log(hazard) - math.log1p(-hazard)

    def scores(self) -> Tensor:
        return F.logsigmoid(self.logits) + _before(F.logsigmoid(-self.logits).cumsum(0))


class Sequential(HaltingDistribution):
    """Halting decided step by step: q(t|T) = mass_t for t < T, and what is left by then at t = T.

    The mass at t does not depend on T, so all sums over t are prefix sums.
    """

    online: ClassVar[bool] = True

    @abstractmethod
    def log_mass(self) -> tuple[Tensor, Tensor]:
        """log mass_t of halting at t < T, and log of the mass left at t = T, each ``(K, L)``; may be -inf."""

    def log_prob(self) -> Tensor:
        mass, rest = self.log_mass()
        steps = torch.arange(len(mass), device=mass.device)
        T, t = steps.view(-1, 1, 1), steps.view(1, 1, -1)
        never = torch.full((), -math.inf, dtype=mass.dtype, device=mass.device)
        return torch.where(t < T, mass.T, torch.where(t == T, rest.T, never))

    def log_last_row(self) -> Tensor:
        mass, rest = self.log_mass()
        return torch.cat([mass[:-1], rest[-1:]])

    def _sum(self, at_mass: Tensor, at_rest: Tensor) -> Tensor:
        return _before(at_mass.cumsum(0)) + at_rest

    def expect(self, values: Tensor) -> Tensor:
        mass, rest = self.log_mass()
        return self._sum(mass.exp() * values, rest.exp() * values)

    def entropy(self) -> Tensor:
        def entr(log: Tensor) -> Tensor:
            safe = log.masked_fill(log == -math.inf, 0.0)  # 0 log 0 = 0, also in the gradient
            return -safe.exp() * safe

        mass, rest = self.log_mass()
        return self._sum(entr(mass), entr(rest))

    def log_marginal(self, log_horizon: Tensor) -> Tensor:
        mass, rest = self.log_mass()
        log_horizon = log_horizon.reshape(len(mass), -1)
        beyond = torch.logcumsumexp(log_horizon.flip(0), 0).flip(0)[1:]
        later = torch.cat([beyond, torch.full_like(beyond[:1], -math.inf)])
        return torch.logaddexp(mass + later, rest + log_horizon)


@POSTERIORS.register("stick-breaking")
class StickBreaking(Sequential):
    """Hazard lambda_t = sigmoid(logit_t): break a piece off the stick at every step, the rest at T (the default).

    q(t|T) = lambda_t prod_{s<t} (1 - lambda_s) for t < T, the remainder at T  (Sander 2017, slides, act_sb).
    The hazard starts at 1 - nu or below sigmoid(-3) ("deep start"): from 0, halting would stick at 2-3 steps.
    """

    @staticmethod
    def initial_bias(nu: float) -> float:
        return min(-3.0, math.log1p(-nu) - math.log(nu))

    @staticmethod
    def hazard(logit: Tensor, halted: Tensor) -> Tensor:
        return torch.sigmoid(logit)

    def log_mass(self) -> tuple[Tensor, Tensor]:
        left = _before(F.logsigmoid(-self.logits).cumsum(0))
        return F.logsigmoid(self.logits) + left, left


@POSTERIORS.register("graves")
class Graves(Sequential):
    """Adaptive computation time: sigmoid weights until their sum passes 1 - eps, the remainder there.

    h_t = sigmoid(logit_t), N = min{n : sum_{s<=n} h_s >= 1 - eps} or T, q(t|T) = h_t for t < N and the remainder
    R = 1 - sum_{s<N} h_s at N (Graves 2016, eq 5-8).  Trained with the ponder cost tau (N + R).
    """

    objective: ClassVar[str] = "ponder-cost"
    epsilon: ClassVar[float] = 0.01

    @staticmethod
    def initial_bias(nu: float) -> float:
        return min(-3.0, math.log1p(-nu) - math.log(nu))

    @staticmethod
    def hazard(logit: Tensor, halted: Tensor) -> Tensor:
        weight = torch.sigmoid(logit)
        return torch.where(halted + weight < 1 - Graves.epsilon, weight / (1 - halted), 1.0)

    def _weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """h, mass left before t, whether t < N, whether t = N; each ``(K, L)``."""
        weight = torch.sigmoid(self.logits)
        cumulated = weight.cumsum(0)
        running = cumulated < 1 - self.epsilon
        ran = torch.cat([torch.ones_like(running[:1]), running[:-1]])
        return weight, 1 - _before(cumulated), running, ran & ~running

    def log_mass(self) -> tuple[Tensor, Tensor]:
        weight, left, running, last = self._weights()
        never = torch.full((), -math.inf, dtype=weight.dtype, device=weight.device)
        safe = torch.where(running | last, left, torch.ones_like(left)).log()
        mass = torch.where(running, F.logsigmoid(self.logits), torch.where(last, safe, never))
        return mass, torch.where(running | last, safe, never)

    def ponder(self) -> tuple[Tensor, Tensor]:
        """N and R at T = K, each ``(L,)``; only R carries a gradient (Graves 2016, eq 9-11)."""
        _, left, running, last = self._weights()
        reached = last.any(0)
        num_steps = torch.where(reached, running.sum(0) + 1, len(running))
        return num_steps.to(left.dtype), left.gather(0, num_steps.unsqueeze(0) - 1).squeeze(0)


class HaltingPosterior(nn.Module):
    """The head: features of steps 1..K -> logits -> a ``HaltingDistribution``.

    A gated recurrent unit (Cho et al. 2014) of ``hidden_size`` runs over the steps and a linear output reads it, so
    that the logit of step t depends on the features of steps 1..t.

    :param name: a name in ``POSTERIORS``.
    :param num_features: F.
    :param nu: the prior's parameter, near which q starts.
    """

    def __init__(self, name: str, num_features: int, nu: float, hidden_size: int = 32) -> None:
        super().__init__()
        self.distribution: type[HaltingDistribution] = POSTERIORS[name]
        self.memory = nn.GRU(num_features, hidden_size)
        self.output = nn.Linear(hidden_size, 1)
        with torch.no_grad():
            self.output.weight.mul_(0.1)
            self.output.bias.fill_(self.distribution.initial_bias(nu))

    def fits(self, other: HaltingPosterior) -> bool:
        """Whether the weights of ``other`` mean the same here: of one kind, one shape."""
        shapes, others = ([weight.shape for weight in head.parameters()] for head in (self, other))
        return self.distribution is other.distribution and shapes == others

    def forward(self, features: Tensor) -> HaltingDistribution:
        """``features (K, L, F)`` -> q(t | x, T) for all T."""
        hidden, _ = self.memory(features)
        return self.distribution(self.output(hidden).squeeze(-1))

    def follow(self, features: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One step: ``features (L, F)`` and the memory of the step before -> logit ``(L,)`` and the next memory."""
        out, hidden = self.memory(features.unsqueeze(0), None if hidden is None else hidden.unsqueeze(0))
        return self.output(out[0]).squeeze(-1), hidden.squeeze(0)
