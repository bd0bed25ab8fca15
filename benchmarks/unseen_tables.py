"""Tables of ``unseen.py``.

Ratio of a task: held-out loss over that of the tuned reference, both plus ``FLOOR`` of the loss at the start, as some
can go to 0.  Below 1 is better than the reference.  Over tasks: the geometric mean, with its standard error; and the
median, as a task where one of the two got stuck can make most of the mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from pages import number, table, with_error
from unseen import Cache
from unseen_recipes import RECIPES
from unseen_tasks import Task

FLOOR = 1e-4
BEST, UNTUNED = "best tuned", "adamw-untuned"
TUNED = [name for name, recipe in RECIPES.items() if recipe.halves]
Ratios = dict[str, float]
"""Task -> ratio."""


def best_tuned(cache: Cache, task: str, steps: int) -> str | None:
    """The tuned recipe with the lowest loss on the seeds for tuning."""
    losses = {name: min(of_rate.values()) for name in TUNED if (of_rate := cache.tuning(task, steps, name))}
    return min(losses, key=losses.__getitem__) if losses else None


def loss_of(cache: Cache, task: Task, steps: int, name: str) -> float | None:
    chosen = best_tuned(cache, task.name, steps) if name == BEST else name
    return None if chosen is None else cache.judged(task.name, steps, chosen)


def ratios(cache: Cache, tasks: Sequence[Task], steps: int, name: str, reference: str) -> Ratios:
    """Of the tasks that both have done."""
    found = {}
    for task in tasks:
        ours, theirs = (loss_of(cache, task, steps, one) for one in (name, reference))
        if ours is not None and theirs is not None:
            floor = FLOOR * cache.start(task.name)
            found[task.name] = (ours + floor) / (theirs + floor)
    return found


def geometric_mean(found: Ratios) -> str:
    if not found:
        return "-"
    logs = [math.log(ratio) for ratio in found.values()]
    mean = sum(logs) / len(logs)
    if len(logs) == 1:
        return number(math.exp(mean), 3)
    error = math.sqrt(sum((log - mean) ** 2 for log in logs) / (len(logs) - 1) / len(logs))
    return with_error(round(math.exp(mean), 3), math.exp(mean) * error)


def worst(found: Ratios) -> str:
    if not found:
        return "-"
    task = max(found, key=found.__getitem__)
    return f"{number(found[task], 3)} {task}"


def worth(cache: Cache, task: Task, steps: int, name: str, reference: str = "adamw") -> float | None:
    """How many times ``steps`` the tuned reference needs to get to the loss of ``name`` for the first time.

    Between the numbers of steps that it was tuned for the logarithm of the steps is linear in the loss; never more
    than the largest of them.
    """
    numbers = sorted({key[1] for key in cache.found if key[0] == task.name and key[2] == reference})
    losses = [loss_of(cache, task, num, reference) for num in numbers]
    ours = loss_of(cache, task, steps, name)
    if ours is None or None in losses or len(numbers) < 2:
        return None
    points = [(1, cache.start(task.name)), *((num, loss) for num, loss in zip(numbers, losses, strict=True) if loss)]
    for (few, above), (many, below) in pairwise(points):
        if ours >= below:
            share = (above - ours) / (above - below) if above > below else 1.0
            return few * (many / few) ** min(max(share, 0.0), 1.0) / steps
    return points[-1][0] / steps


def summary(cache: Cache, tasks: Sequence[Task], steps: Sequence[int], names: Sequence[str] | None) -> str:
    """A row for each recipe: ratios to tuned AdamW and to the best tuned recipe of each task, and the worst task."""
    head = [
        "steps",
        "recipe",
        "tasks",
        "/ adamw",
        "minibatch",
        "/ best tuned",
        "minibatch",
        "median",
        "wins",
        "steps worth",
    ]
    head += ["worst / adamw-untuned", "at an edge"]
    by_minibatch = [task for task in tasks if not task.full_batch]
    rows = []
    for num in steps:
        for name in names or known(cache, num):
            cells = [str(num), name]
            against = ratios(cache, tasks, num, name, BEST)
            cells.append(str(len(against)))
            cells += [
                geometric_mean(ratios(cache, judged, num, name, reference))
                for reference in ("adamw", BEST)
                for judged in (tasks, by_minibatch)
            ]
            cells.append(number(median(against.values()), 3) if against else "-")
            cells.append(str(sum(ratio < 1 for ratio in against.values())))
            found = {task.name: worth(cache, task, num, name) for task in tasks}
            cells.append(geometric_mean({task: times for task, times in found.items() if times}))
            cells.append(worst(ratios(cache, tasks, num, name, UNTUNED)))
            cells.append(str(sum(at_edge(cache, task.name, num, name) for task in tasks)))
            rows.append(cells)
    return table(head, rows)


def known(cache: Cache, steps: int) -> list[str]:
    """Recipes first, in their order, then learned optimizers."""
    found = list(dict.fromkeys(key[2] for key in cache.found if key[1] == steps))
    return sorted(found, key=lambda name: [*RECIPES].index(name) if name in RECIPES else len(RECIPES))


def at_edge(cache: Cache, task: str, steps: int, name: str) -> bool:
    """Whether a rate outside those tried might be better."""
    tuning = cache.tuning(task, steps, name)
    return len(tuning) > 1 and min(tuning, key=tuning.__getitem__) in (min(tuning), max(tuning))


def each_task(cache: Cache, tasks: Sequence[Task], steps: Sequence[int], names: Sequence[str] | None) -> str:
    """Loss of each task, and the best rate of what is tuned."""
    columns = names or list(dict.fromkeys(name for num in steps for name in known(cache, num)))

    def cell(task: str, num: int, name: str) -> str:
        of_rate, loss = cache.tuning(task, num, name), cache.judged(task, num, name)
        best = f" ({min(of_rate, key=of_rate.__getitem__):g})" if loss is not None and len(of_rate) > 1 else ""
        return number(loss) + best

    rows = [[str(num), task.name, *(cell(task.name, num, name) for name in columns)] for num in steps for task in tasks]
    return table(["steps", "task", *columns], rows)
