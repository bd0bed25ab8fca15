"""Tables of ``unseen.py``.

Ratio of a task: held-out loss over that of the tuned reference, both plus ``FLOOR`` of the loss at the start, as some
can go to 0.  Below 1 is better than the reference.  Over tasks: the geometric mean, with its standard error; and the
median, as a task where one of the two got stuck can make most of the mean.

The best tuned recipe is, of each task and number of steps, the one with the lowest loss on the seeds for tuning, at its
best rate: what one has who tunes them all.  ``cost`` says what that takes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from pages import number, table, with_error
from unseen import JUDGED_ON, MOST_RATES, STEPS, TUNED_ON, Cache
from unseen_recipes import RECIPES, rate_of
from unseen_tasks import GROUPS, Task

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


def ratios(
    cache: Cache, tasks: Sequence[Task], steps: int, name: str, reference: str, floor_share: float = FLOOR
) -> Ratios:
    """Of the tasks that both have done; ``floor_share`` 0: plain."""
    found = {}
    for task in tasks:
        ours, theirs = (loss_of(cache, task, steps, one) for one in (name, reference))
        if ours is not None and theirs is not None:
            floor = floor_share * cache.start(task.name)
            found[task.name] = (ours + floor) / (theirs + floor)
    return found


def log_mean(found: Ratios) -> tuple[float, float]:
    """Geometric mean, and its standard error as a share of it; NaN of one alone."""
    logs = [math.log(ratio) for ratio in found.values()]
    mean = sum(logs) / len(logs)
    if len(logs) == 1:
        return math.exp(mean), math.nan
    return math.exp(mean), math.sqrt(sum((log - mean) ** 2 for log in logs) / (len(logs) - 1) / len(logs))


def geometric_mean(found: Ratios) -> str:
    if not found:
        return "-"
    mean, error = log_mean(found)
    return number(mean, 3) if math.isnan(error) else with_error(round(mean, 3), mean * error)


def worst(found: Ratios) -> str:
    if not found:
        return "-"
    task = max(found, key=found.__getitem__)
    return f"{number(found[task], 3)} {task}"


class Worth(NamedTuple):
    """Of one training: how many times its steps the reference needs for its loss; at least, where it is ``capped``."""

    times: float
    capped: bool


def worth(cache: Cache, task: Task, steps: int, name: str, reference: str = "adamw") -> Worth | None:
    """How many times ``steps`` the tuned reference needs to get to the loss of ``name`` for the first time.

    Between the start, one step, and the numbers of steps that the reference was tuned for, the logarithm of the steps
    is linear in the loss.  Capped where its loss is still above at the largest of them.
    """
    if not cache.starts[task.name]:
        return None
    judged = {num: loss_of(cache, task, num, reference) for num in numbers_of_steps(cache, task)}
    points = [(1, cache.start(task.name)), *((num, loss) for num, loss in judged.items() if loss is not None)]
    ours = loss_of(cache, task, steps, name)
    if ours is None or len(points) < 3:
        return None
    for (few, above), (many, below) in pairwise(points):
        if ours >= below:
            share = (above - ours) / (above - below) if above > below else 1.0
            return Worth(few * (many / few) ** min(max(share, 0.0), 1.0) / steps, False)
    return Worth(points[-1][0] / steps, True)


def numbers_of_steps(cache: Cache, task: Task) -> list[int]:
    """Those that a recipe was tuned for."""
    return sorted({steps for name, steps, recipe in cache.rates if name == task.name and recipe in TUNED})


def saved(cache: Cache, tasks: Sequence[Task], steps: Sequence[int], names: Sequence[str] | None) -> str:
    """Steps of the best tuned recipe, and of tuned AdamW, that what has nothing to tune saves: a row for each."""
    head = ["steps", "recipe", "tasks"]
    for reference in (BEST, "adamw"):
        head += [f"steps of {reference} for its loss", "saves", "at least, on"]
    rows = []
    for num in steps:
        for name in names or [one for one in known(cache, num) if one not in TUNED]:
            cells = []
            for reference in (BEST, "adamw"):
                found = {task.name: worth(cache, task, num, name, reference) for task in tasks}
                there = {task: one for task, one in found.items() if one is not None}
                needs = {task: num * one.times for task, one in there.items()}
                cells += saves(num, needs)
                cells.append(f"{sum(one.capped for one in there.values())}")
            rows.append([str(num), label(name), str(len(there)), *cells])
    return table(head, rows)


def saves(steps: int, needs: Ratios) -> list[str]:
    """Steps that the reference needs, geometric mean with its standard error; how many of them are not taken."""
    if not needs:
        return ["-", "-"]
    mean, error = log_mean(needs)
    share = f" ({1 - steps / mean:.0%})" if mean >= steps else ""
    return [f"{mean:.0f}" + ("" if math.isnan(error) else f" ± {mean * error:.0f}"), f"{mean - steps:+.0f}{share}"]


def cost(cache: Cache, tasks: Sequence[Task], steps: Sequence[int], names: Sequence[str] | None) -> str:
    """The grid of each recipe, and how many trainings, steps and seconds its tuning took, over all tasks."""
    head = [
        "steps",
        "recipe",
        "tasks",
        "first rates",
        "tried",
        "trainings",
        "gradients",
        "seconds",
        "a task",
        "at an edge",
    ]
    rows = []
    for num in steps:
        sums = [0, 0.0]
        for name in [one for one in names or known(cache, num) if one in TUNED]:
            tuned = [task.name for task in tasks if cache.tuning(task.name, num, name)]
            tried = {rate for task in tuned for rate in cache.rates[task, num, name]}
            keys = [(task, num, name, rate, seed)
                    for task in tuned for rate in cache.rates[task, num, name] for seed in TUNED_ON]  # fmt: skip
            seconds = [cache.seconds[key] for key in keys if key in cache.seconds]
            sums = [sums[0] + len(seconds), sums[1] + sum(seconds)]
            first = [rate_of(half) for half in RECIPES[name].halves]
            cells = [f"{min(first):g} to {max(first):g}", f"{min(tried):g} to {max(tried):g}" if tried else "-"]
            cells += spent(num, len(seconds), sum(seconds), len(tuned))
            rows.append([str(num), name, str(len(tuned)), *cells, edges(cache, tasks, num, name)])
        if sums[0]:
            done = sum(best_tuned(cache, task.name, num) is not None for task in tasks)
            rows.append([str(num), f"all of them ({BEST})", str(done), "", "", *spent(num, *sums, done), ""])
    return table(head, rows)


def spent(steps: int, trainings: float, seconds: float, tasks: int) -> list[str]:
    each = f"{trainings / tasks:.0f} trainings, {seconds / tasks:.0f} s" if tasks else "-"
    return [f"{trainings:.0f}", f"{trainings * steps:,.0f}", f"{seconds:.0f}", each]


def edges(cache: Cache, tasks: Sequence[Task], steps: int, name: str) -> str:
    return str(sum(at_edge(cache, task.name, steps, name) for task in tasks))


def label(name: str) -> str:
    """Of ``LABEL=FILE`` the label."""
    return name.split("=", 1)[0]


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
        "steps worth, of adamw",
        "of best tuned",
    ]
    head += ["worst / adamw-untuned", "at an edge"]
    by_minibatch = [task for task in tasks if not task.full_batch]
    rows = []
    for num in steps:
        for name in names or known(cache, num):
            cells = [str(num), label(name)]
            against = ratios(cache, tasks, num, name, BEST)
            cells.append(str(len(against)))
            cells += [
                geometric_mean(ratios(cache, judged, num, name, reference))
                for reference in ("adamw", BEST)
                for judged in (tasks, by_minibatch)
            ]
            cells.append(number(median(against.values()), 3) if against else "-")
            cells.append(str(sum(ratio < 1 for ratio in against.values())))
            for reference in ("adamw", BEST):
                found = {task.name: worth(cache, task, num, name, reference) for task in tasks}
                cells.append(geometric_mean({task: one.times for task, one in found.items() if one}))
            cells.append(worst(ratios(cache, tasks, num, name, UNTUNED)))
            cells.append(edges(cache, tasks, num, name))
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
    return table(["steps", "task", *map(label, columns)], rows)


def section(group: str) -> str:
    """What was run of the group, for the page; empty if nothing."""
    cache, tasks = Cache(group), GROUPS[group]
    steps = [num for num in STEPS if any(key[1] == num for key in cache.rates)]
    if not steps:
        return ""
    parts = [
        f"**{group}**, {len(tasks)} tasks. Rates are tuned on the seeds {said(TUNED_ON)}, for each task and number of "
        f"steps by itself, at most {MOST_RATES} in half powers of ten; models and minibatches of the seeds "
        f"{said(JUDGED_ON)} are judged.",
        summary(cache, tasks, steps, None),
        "*What it saves.* Steps that the best tuned recipe of each task, and tuned AdamW, needs for the same loss: "
        "geometric mean over tasks. *At least*: on how many tasks it does not get there in the most steps that it was "
        f"tuned for, {max(steps):,}, which then stand for what it needs. The tuning, below, is saved besides.",
        saved(cache, tasks, steps, None),
        "*What tuning cost*, over all tasks, on one thread. *Gradients*: steps of all trainings together. "
        "Seconds were taken at different times beside other work: compare gradients.",
        cost(cache, tasks, steps, None),
    ]
    return "\n\n".join(parts)


def sections() -> str:
    """All groups that were run."""
    return "\n\n".join(filter(None, map(section, GROUPS)))


def said(seeds: Sequence[int]) -> str:
    return f"{', '.join(map(str, seeds[:-1]))} and {seeds[-1]}"
