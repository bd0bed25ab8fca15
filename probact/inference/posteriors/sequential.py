"""Halting decided step by step, what is left at T: stick-breaking and Graves."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from probact.inference.posteriors.base import POSTERIORS, HaltingDistribution, cumulated_before


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
        return cumulated_before(at_mass.cumsum(0)) + at_rest

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
        later = torch.cat([beyond, torch.full_like(log_horizon[:1], -math.inf)])
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
        left = cumulated_before(F.logsigmoid(-self.logits).cumsum(0))
        return F.logsigmoid(self.logits) + left, left


@POSTERIORS.register("graves")
class Graves(Sequential):
    """Adaptive computation time: sigmoid weights until their sum passes 1 - eps, the remainder there.

    h_t = sigmoid(logit_t), and N is the first step t with sum_{s<=t} h_s >= 1 - eps, or T.  q(t|T) = h_t for t < N, and
    the remainder R = 1 - sum_{s<N} h_s at N (Graves 2016, eq 5-8).  Trained with the ponder cost tau (N + R).
    """

    objective: ClassVar[str] = "ponder-cost"
    has_ponder: ClassVar[bool] = True
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
        return weight, 1 - cumulated_before(cumulated), running, ran & ~running

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
