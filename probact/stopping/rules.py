"""The stop rules."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from probact.stopping.base import STOP_RULES, Known, StopRule
from probact.support.refusals import check_range
from probact.support.words import counted
from probact.unrolling.progress import PRICE

HAZARD_SHARE = 0.5
"""The hazard of q(t|x) reaches this share of the prior's, 1 - nu: a price in nats, those of the training."""


@STOP_RULES.register("budget")
class Budget(StopRule):
    """The same number of steps for every problem."""

    default, lowest, whole = 20.0, 1, True

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        return torch.full_like(known.loss, known.step), memory

    def describe(self) -> str:
        return counted(self.threshold, "step", form=".0f")


@STOP_RULES.register("gradient")
class GradientNorm(StopRule):
    """Gradient norm below a tolerance; the threshold is minus its log10."""

    needs_gradient = True
    default = 3.0

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        return -torch.log10(known.grad_norm + 1e-30), memory

    def describe(self) -> str:
        return f"|g| <= {10**-self.threshold:.3g}"


@STOP_RULES.register("patience")
class Patience(StopRule):
    """No improvement of the best loss by more than ``epsilon`` for so many steps (Prechelt 1998).

    :param epsilon: in nats.
    :param share: further, as a share of the fall from the first loss to the best one, which has no units.
    """

    default, lowest, whole = 5.0, 1, True

    def __init__(self, threshold: float | None = None, epsilon: float = 0.05, share: float = 0.0) -> None:
        super().__init__(threshold)
        check_range(self.label, at_least=0, epsilon=epsilon)
        check_range(self.label, at_least=0, below=1, share=share)
        self.epsilon, self.share = epsilon, share

    @classmethod
    def candidates(cls) -> list[StopRule]:
        return [cls(epsilon=epsilon) for epsilon in (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)]

    def init(self, like: Tensor) -> Any:
        endless = torch.full_like(like, math.inf)
        return endless, endless, torch.zeros_like(like)

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        first, best, waited = memory
        first = torch.where(first.isinf(), known.loss, first)
        least = self.epsilon + self.share * (first - best).clamp_min(0)
        improved = known.loss < best - least
        waited = torch.where(improved, 0.0, waited + 1)
        return waited, (first, torch.where(improved, known.loss, best), waited)

    def describe(self) -> str:
        gain = " + ".join(
            [f"{self.epsilon:g}"] * (self.epsilon > 0 or not self.share)
            + [f"{self.share:.3g} of the fall"] * (self.share > 0)
        )
        return f"no gain > {gain} for {counted(self.threshold, 'step', form='.0f')}"


@STOP_RULES.register("cumulative")
class Cumulative(StopRule):
    """Mass of q(t|x) spent by s; 0.5 is the median, the thesis used 0.99.

    With a KL scale below 1 the posterior is a sharpened one, and its median near its mode.
    """

    needs_posterior = True
    default, lowest, highest = 0.5, 0, 1

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        assert known.halted is not None
        return known.halted, memory


@STOP_RULES.register("hazard")
class Hazard(StopRule):
    """Hazard of q(t|x): once nothing is left to gain it is 1 - nu, the prior's; the online form of the MAP step.

    While a step still gains ``gain`` nats, the exact hazard is near 1 - nu e^gain.  The mode is where the gain falls
    below -log nu: it is passed at a share of 1 - nu.
    """

    needs_posterior = True
    default, lowest, highest = 0.025, 0, 1

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        assert known.hazard is not None
        return known.hazard, memory


@STOP_RULES.register("expected-improvement")
class ExpectedImprovement(StopRule):
    """The search expects no more of its next query than so many nats; the threshold is minus its log10.

    At the price of a step it is the own rule of a search by expected improvement: what is to come costs more than it
    brings.  For unit costs also LogEIPC's and that of Pandora's box (Xie et al. 2025).
    """

    needs_expectation = True
    default = -math.log10(PRICE)

    @classmethod
    def of_price(cls, cost: float) -> ExpectedImprovement:
        """Stop where no more is expected than a step costs, ``cost`` in nats."""
        return cls(-math.log10(cost))

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        assert known.expected is not None
        return -torch.log10(known.expected + 1e-30), memory

    def describe(self) -> str:
        return f"expected gain <= {10**-self.threshold:.3g}"


@STOP_RULES.register("stochastic")
class Stochastic(StopRule):
    """Mass of q(t|x) spent by s against one uniform number of each problem: a draw t ~ q(t|x)."""

    needs_posterior = True
    tunable = False

    def __init__(self, threshold: float | None = None, seed: int = 0) -> None:
        super().__init__(threshold)
        check_range(self.label, at_least=0, below=2**63, seed=seed)
        self.seed = seed

    def init(self, like: Tensor) -> Any:
        uniform = torch.rand(len(like), dtype=torch.float64, generator=torch.Generator().manual_seed(self.seed))
        return uniform.to(like)

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        assert known.halted is not None
        return known.halted - memory, memory

    def describe(self) -> str:
        return "t ~ q(t|x)"
