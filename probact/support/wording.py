"""Numbers in sentences."""

from __future__ import annotations


def counted(num: int, noun: str) -> str:
    """So many of what ``noun`` names one of, where the plural takes an s.

    >>> counted(1, "step"), counted(1200, "step"), counted(0, "check")
    ('1 step', '1,200 steps', '0 checks')
    """
    return f"{num:,} {noun}{'' if num == 1 else 's'}"
