"""The best rules once more, on fresh networks: the largest of many noisy rewards is too good to be true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from probact.rule_search.child import Child
from probact.rule_search.settings import Record, Settings
from probact.rules.expressions.parser import canonical, parse

TOP = 8
FRESH = 3
"""Seeds on which the best are tried again."""
REFERENCES = ("adam", "rmsprop", "momentum", "g * exp(sign(g) * sign(m))", "(1 + sign(g) * sign(m)) * g")
"""Rules that are always tried beside them."""


class Ranked(NamedTuple):
    """A rule on fresh networks.

    :ivar first_reward: that in the search, NaN of a reference.
    :ivar reward, loss, accuracy: means over ``FRESH`` seeds.
    :ivar rate: that of the last seed; :ivar is_reference: whether it is one of ``REFERENCES``.
    """

    rule: str
    first_reward: float
    reward: float
    loss: float
    accuracy: float
    rate: float
    is_reference: bool


def distinct(records: Sequence[Record], num: int) -> list[Record]:
    """The ``num`` best rules, each once; those that were stopped on the way come last."""
    found = {record.rule: record for record in records}
    return sorted(found.values(), key=lambda one: (one.stopped_at > 0, -one.reward, one.loss))[:num]


def rank(settings: Settings, records: Sequence[Record], num: int = TOP) -> list[Ranked]:
    """The ``num`` best and the references, the best first, on networks that the search did not see."""
    chosen = {record.rule: record.reward for record in distinct(records, num)}
    rules = [*chosen, *(rule for rule in REFERENCES if rule not in chosen)]
    trees = [canonical(parse(rule)) for rule in rules]
    seeds = [10_000 * (settings.seed + 1) + number for number in range(FRESH)]
    tried = [Child(settings.child, settings.reward, seed).try_out(trees) for seed in seeds]
    found = []
    for place, rule in enumerate(rules):
        some = [one[place] for one in tried]
        reward, loss, accuracy = (sum(values) / FRESH for values in zip(*(one[:3] for one in some), strict=True))
        first = chosen.get(rule, float("nan"))
        found.append(Ranked(rule, first, reward, loss, accuracy, some[-1].rate, rule in REFERENCES))
    return sorted(found, key=lambda one: (-one.reward, one.loss))
