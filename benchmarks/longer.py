"""Whether weights that were trained for longer, or otherwise, are better than those of ``general``: on tasks for choosing.

    python benchmarks/unseen.py run --group development --recipe general --recipe LABEL=FILE
    python benchmarks/longer.py LABEL=FILE ...     # tables of what has been run

Of each task with minibatches the held-out loss over that of the weights that ship, the mean of three seeds each; over
tasks the geometric mean with its standard error.  Weights are chosen by these alone: better by more than the error at
two of the three numbers of steps, and not worse at the third.
"""

from __future__ import annotations

import sys

from pages import number, table
from unseen import STEPS, Cache
from unseen_tables import geometric_mean, label, ratios
from unseen_tasks import DEVELOPMENT

MINIBATCH = [task for task in DEVELOPMENT if not task.full_batch]


def means(cache: Cache, names: list[str], reference: str) -> str:
    """A row for each file and number of steps."""
    rows = []
    for name in names:
        for num in STEPS:
            if found := ratios(cache, MINIBATCH, num, name, reference):
                better = f"{sum(ratio < 1 for ratio in found.values())} of {len(found)}"
                rows.append([label(name), str(num), geometric_mean(found), better])
    return table(["weights", "steps", f"loss over that of {label(reference)}", "better on"], rows)


def each(cache: Cache, names: list[str], reference: str) -> str:
    """A row for each task."""
    found = {(name, num): ratios(cache, MINIBATCH, num, name, reference) for name in names for num in STEPS}
    shown = [key for key, of_task in found.items() if of_task]
    rows = [[task.name, *(number(found[key].get(task.name), 3) for key in shown)] for task in MINIBATCH]
    return table(["task", *(f"{label(name)} @{num:,}" for name, num in shown)], rows)


def main(names: list[str], reference: str = "general") -> None:
    cache = Cache("development")
    print(means(cache, names, reference), each(cache, names, reference), sep="\n\n")


if __name__ == "__main__":
    main(sys.argv[1:])
