"""``parity`` of 64 entries, from the networks of 16 that ``loops_wide.py`` trains: ``results/loops-large.jsonl``.

    python benchmarks/loops_large.py tune [NAME ...]    # RECIPES from --seed 10; what is there is left alone
    python benchmarks/loops_large.py judge --seed 0 1 2 # JUDGED from these

A recipe is how training goes on from there, on vectors of which 1 to 64 entries are not 0, within 80 steps.  Stops are
tuned on such problems too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loops import Plan, command, fit, measure
from loops_variants import LARGE_RESULT
from loops_wide import begun

FROM = "24"
LARGE: dict[str, Any] = {"family_options": {"n": 64}, "horizon": 80, "curriculum": 0, "validate_every": 50}
RECIPES: dict[str, dict[str, Any]] = {
    "gentle": {**LARGE, "lr": 1e-3, "meta_steps": 150},
    "longer": {**LARGE, "lr": 2e-3, "meta_steps": 300},
    "head": {**LARGE, "lr": 5e-3, "meta_steps": 100, "freeze_rule": True},
}
JUDGED = ("gentle",)


def plan_of(name: str, seed: int, runs: Path) -> Plan:
    """After the network of 16 entries that it begins with, from the same seed."""
    folder = f"wide-{FROM}-{seed}"
    fit(folder, runs, begun(FROM, seed, runs))
    return Plan({**RECIPES[name], "begin_with": f"runs/loops/{folder}"}, (seed,))


def main() -> None:
    given = command(("tune", "judge"), [*RECIPES]).parse_args()
    for name in given.names or (RECIPES if given.what == "tune" else JUDGED):
        for seed in given.seed:
            measure(LARGE_RESULT, f"large-{name}", plan_of(name, seed, given.runs), given.runs)


if __name__ == "__main__":
    main()
