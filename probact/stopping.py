"""When to stop, decided online: rules that score each step by what is known then, and the run that obeys them."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from probact.optimizees.base import Optimizee, Params
from probact.posteriors import HaltingPosterior
from probact.registry import STOP_RULES
from probact.rules.base import UpdateRule, map_state
from probact.walk import Seen, Walk


class Known(NamedTuple):
    """What is known at theta_s, once looked at and before the next step is made; tensors are ``(L,)``.

    :ivar step: s, from 1.
    :ivar loss, grad_norm: what the rule would descend from theta_s, and the norm of its gradient.
    :ivar hazard: lambda_s = q(s|x) / q(t >= s|x); None without a posterior that can be followed online.
    :ivar halted: sum_{t <= s} q(t|x); None where ``hazard`` is.
    """

    step: int
    loss: Tensor
    grad_norm: Tensor
    hazard: Tensor | None
    halted: Tensor | None

    def map(self, function: Callable[[Tensor], Tensor]) -> Known:
        """``function`` applied to every tensor that there is."""
        changed = (None if value is None else function(value) for value in self[3:])
        return Known(self.step, function(self.loss), function(self.grad_norm), *changed)


class StopRule(ABC):
    """Stop at the first step s whose score reaches ``threshold``; the score reads steps 1..s only.

    Subclasses register a name in ``STOP_RULES``.
    """

    name: ClassVar[str]
    needs_posterior: ClassVar[bool] = False
    tunable: ClassVar[bool] = True
    """Whether ``threshold`` is chosen on other problems; else it is ``default``."""
    default: ClassVar[float] = 0.0

    def __init__(self, threshold: float | None = None) -> None:
        self.threshold = self.default if threshold is None else threshold

    @classmethod
    def candidates(cls) -> list[StopRule]:
        """The forms among which tuning chooses, each with thresholds of its own."""
        return [cls()]

    def at(self, threshold: float) -> Self:
        """The same rule with another threshold."""
        other = copy.copy(self)
        other.threshold = threshold
        return other

    def start(self, like: Tensor) -> Any:
        """The memory before step 1, for problems ``like (L,)``."""
        return ()

    @abstractmethod
    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        """The score ``(L,)`` of this step and the next memory (nested tuples of ``(L,)`` tensors)."""

    def describe(self) -> str:
        """The rule with its threshold, for a table."""
        return f"{self.name} >= {self.threshold:.3g}"


@STOP_RULES.register("budget")
class Budget(StopRule):
    """The same number of steps for every problem."""

    default = 20.0

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        return torch.full_like(known.loss, known.step), memory

    def describe(self) -> str:
        return f"{self.threshold:.0f} steps"


@STOP_RULES.register("gradient")
class GradientNorm(StopRule):
    """Gradient norm below a tolerance; the threshold is minus its log10."""

    default = 3.0

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        return -torch.log10(known.grad_norm + 1e-30), memory

    def describe(self) -> str:
        return f"|g| <= {10**-self.threshold:.3g}"


@STOP_RULES.register("patience")
class Patience(StopRule):
    """No improvement of the best loss by more than ``epsilon`` nats for so many steps (Prechelt 1998)."""

    default = 5.0

    def __init__(self, threshold: float | None = None, epsilon: float = 0.05) -> None:
        super().__init__(threshold)
        self.epsilon = epsilon

    @classmethod
    def candidates(cls) -> list[StopRule]:
        return [cls(epsilon=epsilon) for epsilon in (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)]

    def start(self, like: Tensor) -> Any:
        return torch.full_like(like, math.inf), torch.zeros_like(like)

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        best, waited = memory
        improved = known.loss < best - self.epsilon
        waited = torch.where(improved, 0.0, waited + 1)
        return waited, (torch.where(improved, known.loss, best), waited)

    def describe(self) -> str:
        return f"no gain > {self.epsilon:g} for {self.threshold:.0f} steps"


@STOP_RULES.register("cumulative")
class Cumulative(StopRule):
    """Mass of q(t|x) spent by s; 0.5 is the median, the thesis used 0.99.

    With a KL scale below 1 the posterior is a sharpened one, and its median near its mode.
    """

    needs_posterior = True
    default = 0.5

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        assert known.halted is not None
        return known.halted, memory


@STOP_RULES.register("hazard")
class Hazard(StopRule):
    """Hazard of q(t|x): once nothing is left to gain it is 1 - nu, the prior's; the online form of the MAP step.

    While a step still gains delta nats the exact hazard is near 1 - nu e^delta, so that the mode, where delta falls
    below -log nu, is passed at a share of 1 - nu.
    """

    needs_posterior = True
    default = 0.025

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        assert known.hazard is not None
        return known.hazard, memory


@STOP_RULES.register("stochastic")
class Stochastic(StopRule):
    """Mass of q(t|x) spent by s against u ~ U(0, 1) of each problem: a draw t ~ q(t|x)."""

    needs_posterior = True
    tunable = False

    def __init__(self, threshold: float | None = None, seed: int = 0) -> None:
        super().__init__(threshold)
        self.seed = seed

    def start(self, like: Tensor) -> Any:
        uniform = torch.rand(len(like), dtype=torch.float64, generator=torch.Generator().manual_seed(self.seed))
        return uniform.to(like)

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        assert known.halted is not None
        return known.halted - memory, memory

    def describe(self) -> str:
        return "t ~ q(t|x)"


class Following:
    """A halting posterior followed online: from what the rule saw to what a stop rule may know.

    :ivar halted, hidden: mass of q(t|x) spent so far ``(L,)`` and the head's memory; None before the first step.
    :param posterior: None: ``hazard`` and ``halted`` stay None.
    :raises ValueError: if hazards of this posterior need the whole unroll.
    """

    def __init__(self, posterior: HaltingPosterior | None) -> None:
        if posterior is not None and not posterior.distribution.online:
            raise ValueError(
                f"halting posterior {posterior.distribution.name!r} needs the whole unroll: "
                "expected stick-breaking or graves"
            )
        self.posterior = posterior
        self.halted: Tensor | None = None
        self.hidden: Tensor | None = None

    def observe(self, step: int, seen: Seen) -> Known:
        """``seen`` at theta_step."""
        square = torch.stack([grad.flatten(1).square().sum(1) for grad in seen.grads.values()]).sum(0)
        hazard = None
        if self.posterior is not None:
            logit, self.hidden = self.posterior.follow(seen.features, self.hidden)
            halted = torch.zeros_like(logit) if self.halted is None else self.halted
            hazard = self.posterior.distribution.hazard(logit, halted)
            self.halted = halted + (1 - halted) * hazard
        return Known(step, seen.loss, square.sqrt(), hazard, self.halted)

    def keep(self, index: Tensor) -> None:
        """Go on with some of the problems."""
        if self.posterior is not None and self.halted is not None and self.hidden is not None:
            self.halted, self.hidden = self.halted[index], self.hidden[index]


def scores(rule: StopRule, path: Sequence[Known]) -> Tensor:
    """Scores of every step of a recorded path, ``(K, L)``."""
    memory = rule.start(path[0].loss)
    rows = []
    for known in path:
        score, memory = rule.score(known, memory)
        rows.append(score)
    return torch.stack(rows)


def first_stop(score: Tensor, threshold: float) -> Tensor:
    """First step at which ``score (K, L)`` reaches ``threshold``, ``(L,)`` int64 in 1..K; K where it never does."""
    reached = score >= threshold
    reached[-1] = True
    return 1 + reached.int().argmax(0)


class Stopped(NamedTuple):
    """Where each problem was stopped.

    :ivar step: ``(L,)`` int64 in 1..H.
    :ivar params: theta at that step.
    :ivar nll: -log p(x | theta) there, ``(L,)``.
    :ivar steps_computed: problem-steps that were computed, stopped ones that had not yet left the batch included.
    """

    step: Tensor
    params: Params
    nll: Tensor
    steps_computed: int


def run_until_stopped(
    rule: UpdateRule,
    optimizee: Optimizee,
    horizon: int,
    stop: StopRule,
    posterior: HaltingPosterior | None = None,
    *,
    compact: bool = True,
) -> Stopped:
    """Optimize each problem until ``stop`` says so, at most ``horizon`` steps.

    :param compact: let stopped problems leave the batch (their state, parameters and data), each time some 15 % of it
        has stopped; else all run to the end of the last one and are only read where they were stopped.
    """
    with torch.no_grad():
        walk, following = Walk(rule, optimizee), Following(posterior)
        num = optimizee.num
        device = next(iter(optimizee.init.values())).device
        step = torch.zeros(num, dtype=torch.long, device=device)
        params = {name: torch.empty_like(tensor) for name, tensor in optimizee.init.items()}
        running, problem = torch.ones(num, dtype=torch.bool, device=device), torch.arange(num, device=device)
        memory: Any = None
        computed = 0
        for s in range(1, horizon + 1):
            walk.move()
            known = following.observe(s, walk.look())
            computed += len(problem)
            memory = stop.start(known.loss) if memory is None else memory
            score, memory = stop.score(known, memory)
            stopping = running & ((score >= stop.threshold) | torch.tensor(s == horizon, device=device))
            if bool(stopping.any()):
                step[problem[stopping]] = s
                for name, tensor in walk.params.items():
                    params[name][problem[stopping]] = tensor[stopping]
                running = running & ~stopping
                left = int(running.sum())
                if left == 0:
                    break
                if compact and left <= 0.85 * len(problem):
                    kept = running.nonzero().squeeze(1)
                    walk.keep(kept)
                    following.keep(kept)
                    memory = map_state(lambda tensor, kept=kept: tensor[kept], memory)
                    problem, running = problem[kept], running[kept]
        nll = optimizee.nll(params)
        return Stopped(step, params, torch.where(nll.isfinite(), nll, math.inf), computed)
