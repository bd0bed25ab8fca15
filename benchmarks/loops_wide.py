"""Readers of ``parity`` beside which the halting posterior is small, for ``loops.py``: ``results/loops-wide.jsonl``.

    python benchmarks/loops_wide.py tune [NAME ...]     # RECIPES from --seed 10; what is there is left alone
    python benchmarks/loops_wide.py judge               # JUDGED from seeds 0, 1, 2, with seconds

A halting posterior has 32 units whatever it stands beside; the reader that ``parity`` recommends has 24.  The wider
the reader, the less of a step is the head's.  A recipe is a width and its learning rate, until learned
(``loops.fit``), ``CAP`` meta-steps at most, or so many as it says.  Seeds 0, 1, 2 are for judging.
"""

from __future__ import annotations

from typing import Any

from loops import CAP, Plan, command, measure
from loops_variants import WIDE_RESULT


def wide(units: int, lr: float, meta_steps: int = CAP, **others: Any) -> dict[str, Any]:
    """With fewer than ``CAP`` meta-steps: all of them."""
    return {"rule_options": {"hidden_size": units}, "lr": lr, "meta_steps": meta_steps, **others}


RECIPES = {
    "24": wide(24, 0.005),
    "24-small": wide(24, 0.005, head_units=8),
    "24-small-b": wide(24, 0.005, 400, head_units=8),
    "128-a": wide(128, 0.002),
    "128-b": wide(128, 0.005, curriculum=400),
    "128-c": wide(128, 0.005, 600, curriculum=400),
    "64-a": wide(64, 0.005),
}
JUDGED = ("24", "128-b", "128-c")


def main() -> None:
    given = command(("tune", "judge"), [*RECIPES]).parse_args()
    names, seeds = (given.names or RECIPES, given.seed) if given.what == "tune" else (JUDGED, (0, 1, 2))
    for name in names:
        for seed in seeds:
            plan = Plan(RECIPES[name], (seed,), until_learned=RECIPES[name]["meta_steps"] == CAP)
            measure(WIDE_RESULT, f"wide-{name}", plan, given.runs, times=True)


if __name__ == "__main__":
    main()
