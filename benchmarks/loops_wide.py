"""Readers of ``parity`` beside which the halting posterior is small, for ``loops.py``: ``results/loops-wide.jsonl``.

    python benchmarks/loops_wide.py tune [NAME ...]     # RECIPES from --seed 10; what is there is left alone
    python benchmarks/loops_wide.py judge               # JUDGED from seeds 0, 1, 2, with seconds

A halting posterior has 32 units whatever it stands beside; the reader that ``parity`` recommends has 24.  The wider
the reader, the less of a step is the head's.  A recipe is a width and its learning rate, until learned
(``loops.fit``), ``CAP`` meta-steps at most, or so many as it says.  Seeds 0, 1, 2 are for judging.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loops import CAP, Plan, command, fit, measure
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
    "24-head-8": wide(24, 0.005, 200, begin_with="24", freeze_rule=True, head_units=8, curriculum=0),
    "128-head-8": wide(128, 0.005, 200, begin_with="128-b", freeze_rule=True, head_units=8, curriculum=0),
}
"""``begin_with``: the recipe whose network is kept, from the same seed."""
JUDGED = ("24", "128-b", "128-c", "24-head-8", "128-head-8")


def begun(name: str, seed: int, runs: Path) -> Plan:
    """How ``name`` is trained, and first what it begins with, where that is not there."""
    settings = RECIPES[name]
    if first := settings.get("begin_with"):
        folder = f"wide-{first}-{seed}"
        fit(folder, runs, begun(first, seed, runs))
        settings = {**settings, "begin_with": f"runs/loops/{folder}"}
    return Plan(settings, (seed,), until_learned=settings["meta_steps"] == CAP)


def main() -> None:
    given = command(("tune", "judge"), [*RECIPES]).parse_args()
    names, seeds = (given.names or RECIPES, given.seed) if given.what == "tune" else (given.names or JUDGED, (0, 1, 2))
    for name in names:
        for seed in seeds:
            measure(WIDE_RESULT, f"wide-{name}", begun(name, seed, given.runs), given.runs, times=True)


if __name__ == "__main__":
    main()
