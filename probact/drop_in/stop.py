"""What ``stop=`` may be, and the stop that an optimizer has of its own."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from probact.drop_in.horizon import Horizon
from probact.inference.posteriors.base import HaltingPosterior
from probact.stopping import rules  # noqa: F401 - registers them
from probact.stopping.base import STOP_RULES, Known, StopRule, is_number
from probact.stopping.rules import HAZARD_SHARE, Budget, Hazard, Patience
from probact.support.registry import UnknownPartError

OWN = "own"
"""The file's own stop rule, or ``default_at``; of a posterior without a file, ``Hazard`` at ``HAZARD_SHARE``."""
NO_NEWS = Patience(100.0, epsilon=0.0, share=1e-4)
"""The stop of a file that has none, free of the loss's units: for 100 steps no gain of 0.01 % of the fall so far."""
Asked = StopRule | str | None


def default_at(horizon: Horizon | None) -> StopRule:
    """The stop of a file that has none: where the steps end that it was told of, or without news."""
    return NO_NEWS if horizon is None else Budget(float(horizon.end))


def following(stop: StopRule | None, before: Horizon | None, after: Horizon | None) -> StopRule | None:
    """``stop``; or where it is the default ``before``, that of ``after``."""
    is_default = stop is not None and stop.to_json() == default_at(before).to_json()
    return default_at(after) if is_default else stop


def asked_for(stop: Asked, posterior: HaltingPosterior | None) -> StopRule | None:
    """The rule that ``stop`` means; None: never.

    :raises ValueError: if it is none, or follows a posterior and there is none.
    """
    if stop is None:
        return None
    if isinstance(stop, str) and stop == OWN:
        return None if posterior is None else Hazard(HAZARD_SHARE * (1 - posterior.nu))
    rule = _named(stop) if isinstance(stop, str) else _given(stop)
    if not is_number(threshold := getattr(rule, "threshold", None)):
        raise ValueError(f"{rule.label}: expected a number as threshold, got {threshold!r:.60}")
    if getattr(rule, "needs_expectation", False):
        raise ValueError(f"{rule.label}: expected a stop rule of optimizers, got one of searches")
    if rule.needs_posterior and posterior is None:
        raise ValueError(f"{rule.label}: expected a halting posterior to follow, got none")
    return rule


def _named(text: str) -> StopRule:
    try:
        return StopRule.read(text)
    except UnknownPartError:
        raise _refusal(repr(text)) from None
    except ValueError as error:
        raise ValueError(f"stop: {error}") from None


def _given(stop: Any) -> StopRule:
    if isinstance(stop, StopRule):
        return stop
    if isinstance(stop, type):
        raise _refusal(f"the class {stop.__name__}: make an object of it, {stop.__name__}()")
    has = {"score(known, memory)": callable(getattr(stop, "score", None)), "threshold": hasattr(stop, "threshold")}
    missing = [name for name, there in has.items() if not there]
    if len(missing) == 2:
        raise _refusal(repr(stop))
    if missing:
        raise _refusal(f"a {type(stop).__name__} without {missing[0]}: a stop rule has score and threshold")
    return _Own(stop)


def _refusal(got: str) -> ValueError:
    return ValueError(
        f"stop: expected a stop rule such as Budget(100), NAME or NAME=THRESHOLD with NAME one of "
        f"{', '.join(STOP_RULES)}, {OWN!r} (the stop of the file, or of the posterior), or None for never, got {got}"
    )


class _Own(StopRule):
    """What has ``score`` and ``threshold`` and perhaps ``init`` (``start`` in 0.1.0) but is no ``StopRule``."""

    def __init__(self, own: Any) -> None:
        self.name = getattr(own, "name", type(own).__name__)  # type: ignore[misc]
        super().__init__(own.threshold)
        self.own = own
        self.needs_posterior = getattr(own, "needs_posterior", False)  # type: ignore[misc]

    def init(self, like: Tensor) -> Any:
        begin = getattr(self.own, "init", None) or getattr(self.own, "start", None)
        return begin(like) if begin else ()

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        score, memory = self.own.score(known, memory)
        return score, memory

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "threshold": self.threshold}
