"""What ``stop=`` may be, and the stop that an optimizer has of its own."""

from __future__ import annotations

import math
from contextlib import suppress
from numbers import Real
from typing import Any

from torch import Tensor

from probact.inference.posteriors.base import HaltingPosterior
from probact.stopping import rules  # noqa: F401 - registers them
from probact.stopping.base import STOP_RULES, Known, StopRule
from probact.stopping.rules import Hazard, Patience

OWN = "own"
"""The file's own stop rule, or ``NO_NEWS``; of a posterior without a file, ``Hazard`` at ``HAZARD_SHARE``."""
HAZARD_SHARE = 0.5
"""The hazard of q(t|x) reaches this share of the prior's, 1 - nu: a price in nats, those of the training."""
NO_NEWS = Patience(100.0, epsilon=0.0, share=1e-4)
"""The stop of a file that has none, free of the loss's units: for 100 steps no gain of 0.01 % of the fall so far."""
Asked = StopRule | str | None


def asked_for(stop: Asked, posterior: HaltingPosterior | None) -> StopRule | None:
    """The rule that ``stop`` means; None: never.

    :raises ValueError: if it is none, or follows a posterior and there is none.
    """
    if stop is None:
        return None
    if stop == OWN:
        return None if posterior is None else Hazard(HAZARD_SHARE * (1 - posterior.nu))
    rule = _named(stop) if isinstance(stop, str) else stop
    if not isinstance(rule, StopRule) and callable(getattr(rule, "score", None)) and hasattr(rule, "threshold"):
        rule = _Own(rule)
    if not isinstance(rule, StopRule) or not isinstance(rule.threshold, Real) or math.isnan(rule.threshold):
        raise ValueError(
            f"stop: expected a stop rule such as Budget(100), NAME or NAME=THRESHOLD with NAME one of "
            f"{', '.join(STOP_RULES)}, {OWN!r}, or None for never, got {_said(stop)}"
        )
    if rule.needs_posterior and posterior is None:
        raise ValueError(f"stop rule {rule.name!r}: expected a halting posterior to follow, got none")
    return rule


def _named(text: str) -> StopRule | None:
    """None if it cannot be read."""
    with suppress(ValueError):
        return StopRule.read(text)
    return None


def _said(stop: object) -> str:
    return f"{type(stop).__name__}({stop.threshold!r})" if isinstance(stop, StopRule) else repr(stop)


class _Own(StopRule):
    """What has ``score`` and ``threshold`` and perhaps ``init`` (``start`` in 0.1.0) but is no ``StopRule``."""

    def __init__(self, own: Any) -> None:
        super().__init__(own.threshold)
        self.own = own
        self.name = getattr(own, "name", type(own).__name__)  # type: ignore[misc]
        self.needs_posterior = getattr(own, "needs_posterior", False)  # type: ignore[misc]

    def init(self, like: Tensor) -> Any:
        begin = getattr(self.own, "init", None) or getattr(self.own, "start", None)
        return begin(like) if begin else ()

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        score, memory = self.own.score(known, memory)
        return score, memory

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "threshold": self.threshold}
