"""A rule that works in the memory that it is given: for one optimization, of which nobody keeps what has been."""

from __future__ import annotations

import copy

from probact.rules.base import UpdateRule
from probact.support.room import Room


def overwriting(rule: UpdateRule) -> UpdateRule:
    """A copy of ``rule`` with rooms for its parts: see ``UpdateRule.room``."""
    rule = copy.deepcopy(rule)
    for part in rule.modules():
        if isinstance(part, UpdateRule):
            part.room = Room()
    return rule
