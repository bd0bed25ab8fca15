"""Scores that do not depend on T, conditioned on t <= T: softmax and truncated stick-breaking."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from probact.inference.posteriors.base import POSTERIORS, HaltingDistribution, cumulated_before


class Conditioned(HaltingDistribution):
    """Scores that do not depend on T, conditioned on t <= T: q(t|T) = e^score_t / sum_{s <= T} e^score_s.

    So does the exact posterior depend on T, p(t|x,T) ~ p(t|T) e^{-nll_t}: with the right scores nothing is lost.
    """

    @abstractmethod
    def scores(self) -> Tensor:
        """score_t up to a constant, ``(K, L)``."""

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
        # Running mean E_T = E_{T-1} + q(T|T) (value_T - E_{T-1}): prefix sums of e^score would underflow.
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

    score_t = score_{t-1} + logit_t  (Sander 2017, eq 11-13).  With logit_t = log r for all t this is the prior p(t|T),
    and that is where it starts.
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
        return math.log(hazard) - (math.log1p(-hazard) if hazard < 1 else 0.5 * math.log(nu))

    def scores(self) -> Tensor:
        return F.logsigmoid(self.logits) + cumulated_before(F.logsigmoid(-self.logits).cumsum(0))
