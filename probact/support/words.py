"""Numbers of things in words, and errors in one line."""

from __future__ import annotations


def counted(num: float, one: str, many: str = "", form: str = "") -> str:
    """``1 step``, ``2 steps``, ``1,024 problems`` (``form=","``).

    :param one: the noun, with what stands before it.
    :param many: its plural, where that is not ``one`` and an s.
    :param form: format of the number.
    """
    shown = f"{num:{form}}"
    return f"{shown} {one if shown == '1' else many or f'{one}s'}"


def in_one_line(error: Exception) -> str:
    """Its message, cut short."""
    return " ".join(str(error).split())[:200]
