"""What a stop rule is: a causal score of each step by what is known there, and a threshold."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from inspect import signature
from numbers import Real
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from probact.support.refusals import naming
from probact.support.registry import Registry


class Known(NamedTuple):
    """What is known at theta_s, once looked at and before the next step is made; tensors are ``(L,)``.

    :ivar step: s, from 1.
    :ivar loss, grad_norm: what the rule would descend from theta_s, and the norm of its gradient.
    :ivar hazard: lambda_s = q(s|x) / q(t >= s|x); None without a posterior that can be followed online.
    :ivar halted: sum_{t <= s} q(t|x); None where ``hazard`` is.
    :ivar expected: what the next step is expected to take off the loss, in nats; None of a rule that expects nothing.
    """

    step: int
    loss: Tensor
    grad_norm: Tensor
    hazard: Tensor | None
    halted: Tensor | None
    expected: Tensor | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> Known:
        """``function`` applied to every tensor that there is."""
        changed = (None if value is None else function(value) for value in self[3:])
        return Known(self.step, function(self.loss), function(self.grad_norm), *changed)


def _finite(known: Known) -> Tensor:
    """Whether all that is known of a problem is, ``(L,)``."""
    return torch.stack([value.isfinite() for value in known[1:] if value is not None]).all(0)


def is_number(value: object) -> bool:
    """Whether it is a finite real number, and no truth value."""
    return isinstance(value, Real) and not isinstance(value, bool) and -math.inf < float(value) < math.inf


class StopRule(ABC):
    """Stop at the first step s whose score reaches ``threshold``; the score reads steps 1..s only.

    Subclasses register a name in ``STOP_RULES``, else they have that of the class; they keep each parameter of their
    constructor as the attribute of its name.

    :raises ValueError: if ``threshold`` is no number, or not within the limits of the class.
    """

    name: ClassVar[str]
    needs_posterior: ClassVar[bool] = False
    needs_expectation: ClassVar[bool] = False
    """Whether it reads what the rule expects of its next step."""
    needs_gradient: ClassVar[bool] = False
    """Whether it reads the norm of a gradient, which is 0 for rules that do not see it."""
    tunable: ClassVar[bool] = True
    """Whether ``threshold`` is chosen on other problems; else it is ``default``."""
    default: ClassVar[float] = 0.0
    lowest: ClassVar[float] = -math.inf
    highest: ClassVar[float] = math.inf
    whole: ClassVar[bool] = False
    """Whether a threshold is a count."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = cls.__name__

    def __init__(self, threshold: float | None = None) -> None:
        self.threshold = self.default if threshold is None else self.checked_threshold(threshold)

    @classmethod
    def candidates(cls) -> list[StopRule]:
        """The forms among which tuning chooses, each with thresholds of its own."""
        return [cls()]

    def at(self, threshold: float) -> Self:
        """The same rule with another threshold, beyond the limits too: tuning tries every score that it sees."""
        other = copy.copy(self)
        other.threshold = threshold
        return other

    @property
    def label(self) -> str:
        """For messages: ``stop rule 'patience'``."""
        return f"stop rule {self.name!r}"

    def checked_threshold(self, threshold: Any) -> float:
        """``threshold``.

        :raises ValueError: if it is no number, or not within the limits.
        """
        within = is_number(threshold) and self.lowest <= threshold <= self.highest
        if within and not (self.whole and threshold % 1):
            return float(threshold)
        number = "a whole number" if self.whole else "a number"
        limits = ((">=", self.lowest), ("<=", self.highest))
        said = " and".join(f" {sign} {limit:g}" for sign, limit in limits if math.isfinite(limit))
        raise ValueError(f"{self.label}: expected {number}{said} as threshold, got {threshold!r:.60}")

    def to_json(self) -> dict[str, Any]:
        """Name, threshold and options: ``{"name": "patience", "threshold": 5.0, "epsilon": 0.05}``."""
        options = {option: getattr(self, option) for option in signature(type(self)).parameters}
        return {"name": self.name, **options, "threshold": self.threshold}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> StopRule:
        """What ``to_json`` gave.

        :raises ValueError: if no stop rule has that name, or it has no such option.
        """
        options = dict(content)
        name, threshold = options.pop("name"), options.pop("threshold")
        return STOP_RULES.build(name, options).at(threshold)

    def spelled(self) -> str:
        """As ``read`` takes it: ``patience=4,epsilon=0.3``; options at their default are left out."""
        content, parameters = self.to_json(), signature(type(self)).parameters
        name, threshold = content.pop("name"), content.pop("threshold")
        changed = (f",{option}={value}" for option, value in content.items() if value != parameters[option].default)
        return f"{name}={threshold:.6g}{''.join(changed)}"

    @staticmethod
    def read(text: str) -> StopRule:
        """The rule that ``NAME``, ``NAME=THRESHOLD`` or ``NAME=THRESHOLD,OPTION=VALUE`` names.

        >>> StopRule.read("patience=4,epsilon=0.3").describe()
        'no gain > 0.3 for 4 steps'

        :raises ValueError: on an unknown name or option, or a threshold that is no number or not within the limits.
        """
        first, *options = text.split(",")
        name, given, threshold = first.partition("=")
        rule = STOP_RULES.build(name, dict(option.partition("=")[::2] for option in options))
        if not given:
            return rule
        value: Any = threshold
        with suppress(ValueError):
            value = float(threshold)
        return rule.at(rule.checked_threshold(value))

    def init(self, like: Tensor) -> Any:
        """The memory before step 1, for problems ``like (L,)``."""
        return ()

    @abstractmethod
    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        """The score ``(L,)`` of this step and the next memory (nested tuples of ``(L,)`` tensors)."""

    def checked_score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        """``score``.

        :raises ValueError: if a user's own is not one for each problem, or NaN where all that is known is finite.
        """
        with naming(f"{self.label}: score"):
            found: Any = self.score(known, memory)
        score, *rest = found if isinstance(found, tuple) else (found,)
        if len(rest) != 1 or not isinstance(score, Tensor) or score.shape != known.loss.shape:
            got = tuple(score.shape) if isinstance(score, Tensor) and rest else type(found).__name__
            raise ValueError(
                f"{self.label}: score: expected (score, memory), the score of shape (L,) = "
                f"{tuple(known.loss.shape)}, got {got}"
            )
        if bool((unknown := score.isnan()).any()) and bool((unknown & _finite(known)).any()):
            raise ValueError(
                f"{self.label}: score: expected a number (-inf for not yet), got NaN at step {known.step}: it would "
                "never stop"
            )
        return score, rest[0]

    def describe(self) -> str:
        """The rule with its threshold, for a table."""
        return f"{self.name} >= {self.threshold:.3g}"


STOP_RULES: Registry[StopRule] = Registry("stop rule", StopRule, "probact.stop_rules")
"""Every stop rule by its name."""
