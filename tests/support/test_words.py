from __future__ import annotations

import pytest

from probact.support.words import counted


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (counted(1, "step"), "1 step"),
        (counted(1.0, "step", form=".0f"), "1 step"),
        (counted(0, "step"), "0 steps"),
        (counted(2_000_000, "step"), "2000000 steps"),
        (counted(float("inf"), "step", form=".0f"), "inf steps"),
        (counted(2, "step"), "2 steps"),
        (counted(1, "process", "processes"), "1 process"),
        (counted(3, "process", "processes"), "3 processes"),
        (counted(1024, "held-out problem", form=","), "1,024 held-out problems"),
    ],
)
def test_one_is_no_plural(found: str, said: str) -> None:
    assert found == said
