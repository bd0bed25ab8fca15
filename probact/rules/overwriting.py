"""A rule that works in the memory that it is given: for one optimization, of which nobody keeps what has been."""

from __future__ import annotations

import copy

import torch

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


def kept_in(rule: UpdateRule, memory_dtype: torch.dtype | None) -> UpdateRule:
    """A copy of ``rule`` whose running means are kept in ``memory_dtype``; itself for None.

    :raises ValueError: if that is no type for them, or the rule keeps none so.
    """
    if memory_dtype is None:
        return rule
    if memory_dtype is not torch.bfloat16:
        raise ValueError(f"memory_dtype: expected None or torch.bfloat16, got {memory_dtype!r:.60}")
    if not any(part.is_for_rooms for part in _parts(rule)):
        raise ValueError(f"memory_dtype: expected a rule with running means (general's), got {rule.label}")
    rule = copy.deepcopy(rule)
    for part in _parts(rule):
        part.memory_dtype = memory_dtype if part.is_for_rooms else None
    return rule


def _parts(rule: UpdateRule) -> list[UpdateRule]:
    return [part for part in rule.modules() if isinstance(part, UpdateRule)]
