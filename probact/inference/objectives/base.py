"""What meta-training minimises: an ``Objective`` owns the rule and the halting posterior and scores an unroll.

The ELBO is one of them and has a file of its own (``act.py``).
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from probact.inference.posteriors.base import HaltingDistribution, HaltingPosterior
from probact.inference.priors import Prior
from probact.problems.base import Optimizee
from probact.rules.base import UpdateRule
from probact.support.registry import Registry
from probact.unrolling.looks import Looks
from probact.unrolling.rollout import Rollout, segments, unroll
from probact.unrolling.walk import DEFAULT_UNROLLING, Unrolling

RESOLUTION = 1e-3
"""eps of ``log_loss``, in nats: losses nearer to the floor than this are told apart no more."""


def log_above(values: Tensor, eps: float) -> Tensor:
    """log(v + eps) for v >= 0, and below it (rounding, or a density above 1) the tangent there: defined for every v."""
    return torch.where(values > 0, torch.log(values.clamp_min(0) + eps), values / eps + math.log(eps))


def log_loss(rollout: Rollout) -> Tensor:
    """log(nll_t - floor + eps), mean over t = 1..K, ``(L,)``: a factor on a problem's loss changes no gradient.

    The floor is the problem's optimum where it is known, else 0: the nll of discrete observations has no smaller one.
    """
    return log_above(rollout.above_optimum[1:], RESOLUTION).mean(0)


class Objective(nn.Module, ABC):
    """Mean loss over L problems of a rule and its halting posterior.

    :param rule: the optimizer.
    :param posterior: q(t | x, T) from the unroll's features, or None for an optimizer that does not halt.
    :param horizon: H, the steps of an unroll, under the prior p(T) p(t|T) with the posterior's nu; or a prior that has
        an H of its own.
    :param log_loss_weight: how much of ``log_loss`` is added: unlike the ELBO it also teaches the steps after halting.

    Subclasses register a name in ``OBJECTIVES``.  Of their keyword parameters with defaults those named as a setting of
    ``Experiment`` get its value, the others become ``--objective-option KEY=VALUE``.
    """

    name: ClassVar[str]
    adds_up: ClassVar[bool] = False
    """Whether the loss of an unroll is a sum or mean over its steps, so that a part of it has a loss of its own."""
    sees_path: ClassVar[bool] = True
    """Whether it depends on the losses between theta_0 and theta_H, which cost time."""

    def __init__(
        self,
        rule: UpdateRule,
        posterior: HaltingPosterior | None,
        horizon: int | Prior,
        unrolling: Unrolling = DEFAULT_UNROLLING,
        log_loss_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.rule = rule
        self.posterior = posterior
        self.prior = _prior(horizon, posterior)
        self.unrolling = unrolling
        self.log_loss_weight = log_loss_weight
        if unrolling.by_segment and not self.adds_up:
            adding = ", ".join(name for name in OBJECTIVES if OBJECTIVES[name].adds_up)
            raise ValueError(f"by-segment: expected an objective that adds up over steps ({adding}), got {self.name!r}")

    def capped(self, horizon: int) -> Self:
        """The same with H = ``horizon``, and with the same weights, not copies of them."""
        other = copy.copy(self)
        other.prior = self.prior.truncate(horizon)
        return other

    def at(self, prior: Prior, looks: Looks | None) -> Self:
        """The same under another prior, x seen at another price, with the same weights."""
        other = self.unrolling_as(looks=looks)
        other.prior = prior
        return other

    def unrolling_as(self, **changes: Any) -> Self:
        """The same with another ``Unrolling``, and with the same weights."""
        other = copy.copy(self)
        other.unrolling = self.unrolling._replace(**changes)
        return other

    @property
    def sees_all(self) -> bool:
        """Whether anything that it is made of depends on the losses on the way."""
        return self.sees_path or bool(self.log_loss_weight) or self.unrolling.looks is not None

    def unroll(
        self, optimizee: Optimizee, generator: torch.Generator | None = None, rule: UpdateRule | None = None
    ) -> Rollout:
        """H steps on ``optimizee`` of its rule, or of ``rule``; ``generator`` is for objectives that draw."""
        return unroll(rule or self.rule, optimizee, self.prior.horizon, self.unrolling)

    @abstractmethod
    def losses(self, rollout: Rollout, anneal: float = 1.0) -> Tensor:
        """Of each problem, ``(L,)``.  ``anneal`` in (0, 1] weighs the price of steps (KL, ponder cost)."""

    def loss(self, rollout: Rollout, anneal: float = 1.0) -> Tensor:
        """Scalar: mean of ``losses``."""
        return self.losses(rollout, anneal).mean()

    def forward(
        self, optimizee: Optimizee, anneal: float = 1.0, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Rollout]:
        """Unroll and score."""
        rollout = self.unroll(optimizee, generator)
        return self.score(rollout, anneal), rollout

    def scored_unrolls(
        self, optimizee: Optimizee, anneal: float = 1.0, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Rollout]]:
        """``forward``; or by segment, if so asked for, whose losses they are."""
        for rollout in self.unrolls(optimizee, generator):
            yield self.score(rollout, anneal), rollout

    def unrolls(
        self, optimizee: Optimizee, generator: torch.Generator | None = None, rule: UpdateRule | None = None
    ) -> Iterator[Rollout]:
        """``unroll``; or by segment, each of ``truncate`` steps, from where the one before ended.

        The weights may change in between: truncated backpropagation with an update a segment, as in Andrychowicz et
        al. 2016, makes H / truncate updates of one unroll.
        """
        if not self.unrolling.by_segment:
            yield self.unroll(optimizee, generator, rule)
            return
        yield from segments(rule or self.rule, optimizee, self.prior.horizon, self.unrolling)

    def score(self, rollout: Rollout, anneal: float = 1.0) -> Tensor:
        """All that is minimised; problems that diverged are left out of the mean (NaN if all did)."""
        finite = rollout.finite()
        if finite.nll.shape[1] == 0:
            return rollout.nll.new_full((), torch.nan)
        loss = self.loss(finite, anneal)
        if self.log_loss_weight:
            loss = loss + self.log_loss_weight * log_loss(finite).mean()
        return loss

    def totals(self, rollout: Rollout, anneal: float = 1.0) -> Tensor:
        """What ``score`` is the mean of, in closed form, ``(L,)``."""
        losses = self.losses(rollout, anneal)
        return losses + self.log_loss_weight * log_loss(rollout) if self.log_loss_weight else losses

    def log_horizon(self, q: HaltingDistribution, prior: Prior, log_likelihood: Tensor) -> Tensor:
        """The guide's log q(T|x), ``(T, L)``: here the prior's."""
        return prior.log_horizon().unsqueeze(-1).expand_as(log_likelihood)

    def belief(self, rollout: Rollout) -> HaltingDistribution | None:
        """q(t | x, T), or None without a posterior."""
        return None if self.posterior is None else self.posterior(rollout.features)


OBJECTIVES: Registry[Objective] = Registry("objective", Objective, "probact.objectives")
"""Every objective by its name."""


def _prior(horizon: int | Prior, posterior: HaltingPosterior | None) -> Prior:
    if isinstance(horizon, Prior):
        return horizon
    if posterior is None:
        raise ValueError("without a halting posterior, which holds nu: expected a Prior, got a horizon alone")
    return Prior(posterior.nu, horizon, posterior.output.bias.device)
