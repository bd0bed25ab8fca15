"""When a search is to stop, and why, in words."""

from __future__ import annotations

from typing import NamedTuple

from probact.inference.posteriors.base import HaltingPosterior
from probact.rules.base import UpdateRule
from probact.stopping import rules
from probact.stopping.base import STOP_RULES, Known, StopRule
from probact.support.registry import UnknownPartError

OWN = "own"
"""The stop of the file, or of the rule."""
SHARE = 0.01
"""The price of a query where the user gives none: this share of the spread of the first values."""
Asked = StopRule | str | None


class Terms(NamedTuple):
    """In what terms a search is shown the values: (y - centre) / unit, a query having a price in that unit."""

    centre: float
    unit: float
    price: float

    def __call__(self, value: float) -> float:
        return (value - self.centre) / self.unit


def asked_for(
    stop: Asked, rule: UpdateRule, posterior: HaltingPosterior | None, expects: bool, cost: float
) -> StopRule | None:
    """The stop rule that ``stop`` means; None: never.

    :param expects: whether the rule says what it expects of its next query.
    :param cost: the price of a query in nats.
    :raises ValueError: if it is none, or reads what this search does not know.
    """
    if stop is None:
        return None
    if isinstance(stop, str) and stop == OWN:
        if posterior is not None:
            return rules.Hazard(rules.HAZARD_SHARE * (1 - posterior.nu))
        if expects:
            return rules.ExpectedImprovement.of_price(cost)
        raise ValueError(
            f"{rule.label} neither has a halting posterior nor says what it expects, so it has no stop of its own: say "
            "stop='patience=5', another stop rule, or stop=None for never"
        )
    named = _named(stop) if isinstance(stop, str) else stop
    if not isinstance(named, StopRule):
        raise ValueError(f"stop: expected a stop rule, its name, 'own', or None for never, got {stop!r:.60}")
    lacks = {
        "a gradient": named.needs_gradient,
        "a halting posterior": named.needs_posterior and posterior is None,
        "a rule that says what it expects": named.needs_expectation and not expects,
    }
    if missing := [what for what, is_lacking in lacks.items() if is_lacking]:
        raise ValueError(f"{named.label}: expected {missing[0]} to read, got {rule.label} without")
    return named


def _named(text: str) -> StopRule:
    try:
        return StopRule.read(text)
    except UnknownPartError:
        raise ValueError(
            f"stop: expected NAME or NAME=THRESHOLD with NAME one of {', '.join(STOP_RULES)}, 'own', or None for "
            f"never, got {text!r:.60}"
        ) from None
    except ValueError as error:
        raise ValueError(f"stop: {error}") from None


def weighs_price(stop: StopRule | None) -> bool:
    """Whether its decision depends on what a query costs."""
    return stop is not None and not isinstance(stop, rules.Budget)


def reason(stop: StopRule, known: Known, num: int, price: float, gain: float | None) -> str:
    """Why it stops after ``num`` queries; price and gain in the user's unit."""
    after = f"after {num} {'query' if num == 1 else 'queries'}"
    if stop.needs_expectation and gain is not None:
        return f"{after}: the next is expected to gain {gain:.3g}, no more than its price of {price:.3g}"
    if stop.needs_posterior and known.hazard is not None:
        return f"{after}: no further one is expected to be worth its price of {price:.3g} ({stop.describe()})"
    return f"{after}: {stop.describe()}"
