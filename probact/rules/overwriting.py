"""A rule that works in the memory that it is given: for one optimization, of which nobody keeps what has been."""

from __future__ import annotations

import copy

from probact.rules.base import UpdateRule
from probact.support.room import Room


def overwriting(rule: UpdateRule) -> UpdateRule:
    """A copy of ``rule`` with rooms for its parts (``UpdateRule.room``); itself, where none of them works in one."""
    if not any(part.is_for_rooms for part in _parts(rule)):
        return rule
    rule = copy.deepcopy(rule)
    for part in _parts(rule):
        part.room = Room()
    return rule


def _parts(rule: UpdateRule) -> list[UpdateRule]:
    return [part for part in rule.modules() if isinstance(part, UpdateRule)]
