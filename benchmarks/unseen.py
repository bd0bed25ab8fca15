"""Shipped learned optimizers on small tasks that they never saw, against recipes that are tuned for each task.

    python benchmarks/unseen.py run --group development --steps 50 --steps 200 --recipe adamw --recipe subspace-mlp
    python benchmarks/unseen.py table --group development        # of what has been run
    python benchmarks/unseen.py tasks --group development --steps 200    # loss of each task
    python benchmarks/unseen.py cost --group development         # the grids, and what tuning cost
    python benchmarks/unseen.py rename --recipe general --to general-2    # of weights that are replaced
    python benchmarks/unseen.py saved --group development        # steps of the best tuned recipe that each saves
    python benchmarks/tables.py                                  # writes all of it to benchmarks/README.md

Tasks are in ``unseen_tasks.py``, recipes in ``unseen_recipes.py``; any other name is a learned optimizer, which has
nothing to tune.  A recipe is tuned for each task and number of steps, on seeds 100 and 101: over six rates, and further
ones, up to ten in all, as long as the best is the first or the last.  Seeds 0, 1 and 2 at the best rate are judged.
A loss is that of the last iterate on rows held out; it counts as ten times that at the start where it is more or is
lost.  Each training is a line of ``results/unseen-GROUP.jsonl``, written as it ends: a run that was killed goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from unseen_groups import GROUPS
from unseen_recipes import RECIPES, Job, Recipe, rate_of, recipe
from unseen_tasks import Task

from probact.support.files import write_atomically

RESULTS = Path(__file__).resolve().parent / "results"
STEPS = (50, 200, 1000)
TUNED_ON, JUDGED_ON = (100, 101), (0, 1, 2)
MOST_RATES = 10
WORST = 10.0
Key = tuple[str, int, str, float, int]
"""Task, number of steps, recipe, rate, seed."""
Losses = tuple[float, float]
"""At the end, at the start."""


class Cache:
    """
    :ivar found: of each training; :ivar seconds: likewise, its time.
    :ivar rates: task, number of steps, recipe -> rates tried.
    :ivar starts: task -> seed -> loss at the start.
    """

    def __init__(self, group: str) -> None:
        self.path = RESULTS / f"unseen-{group}.jsonl"
        self.found: dict[Key, Losses] = {}
        self.seconds: dict[Key, float] = {}
        self.rates: defaultdict[tuple[str, int, str], set[float]] = defaultdict(set)
        self.starts: defaultdict[str, dict[int, float]] = defaultdict(dict)
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            with suppress(json.JSONDecodeError):  # half a line of a run that was killed
                row = json.loads(line)
                loss = math.inf if row["loss"] is None else row["loss"]
                key = row["task"], row["steps"], row["recipe"], row["rate"], row["seed"]
                self.remember(key, (loss, row["start"]), row["seconds"])

    def remember(self, key: Key, losses: Losses, seconds: float) -> None:
        self.found[key], self.seconds[key] = losses, seconds
        self.rates[key[:3]].add(key[3])
        self.starts[key[0]][key[4]] = losses[1]

    def add(self, key: Key, losses: Losses, seconds: float) -> None:
        self.remember(key, losses, seconds)
        task, steps, name, rate, seed = key
        row = {"task": task, "steps": steps, "recipe": name, "rate": rate, "seed": seed}
        loss = losses[0] if math.isfinite(losses[0]) else None
        with self.path.open("a+b") as file:
            if file.tell() and file.seek(-1, 2) and file.read() != b"\n":
                file.write(b"\n")
            line = json.dumps({**row, "loss": loss, "start": losses[1], "seconds": round(seconds, 3)})
            file.write(line.encode() + b"\n")

    def counted(self, task: str, steps: int, name: str, rate: float, seeds: Iterable[int]) -> float | None:
        """Mean loss over the seeds; None unless all are there."""
        found = [self.found.get((task, steps, name, rate, seed)) for seed in seeds]
        if None in found:
            return None
        losses = [min(loss, WORST * start) for loss, start in filter(None, found)]
        return sum(losses) / len(losses)

    def tuning(self, task: str, steps: int, name: str) -> dict[float, float]:
        """Rate -> loss on the seeds for tuning; rate 0 of what has none."""
        if name not in RECIPES or not RECIPES[name].halves:
            return {0.0: math.nan}
        rates = sorted(self.rates.get((task, steps, name), ()))
        losses = {rate: self.counted(task, steps, name, rate, TUNED_ON) for rate in rates}
        return {rate: loss for rate, loss in losses.items() if loss is not None}

    def judged(self, task: str, steps: int, name: str) -> float | None:
        tuning = self.tuning(task, steps, name)
        return self.counted(task, steps, name, min(tuning, key=tuning.__getitem__), JUDGED_ON) if tuning else None

    def start(self, task: str) -> float:
        found = [loss for seed, loss in self.starts[task].items() if seed in JUDGED_ON]
        return sum(found) / len(found)


def train(task: Task, steps: int, chosen: Recipe, rate: float, seed: int) -> Losses:
    model = task.begin(seed)
    start = task.held_out_loss(model)
    try:
        chosen.train(Job(task, model, steps, torch.Generator().manual_seed(10_000 + seed)), rate)
        return task.held_out_loss(model), start
    except FloatingPointError:
        return math.inf, start


def run_task(cache: Cache, task: Task, steps: int, name: str) -> None:
    """Tune, then judge; what is in the cache is not done again."""
    chosen = recipe(name)

    def loss(rate: float, seeds: tuple[int, ...]) -> float:
        for seed in seeds:
            if (key := (task.name, steps, name, rate, seed)) not in cache.found:
                begun = time.perf_counter()
                cache.add(key, train(task, steps, chosen, rate, seed), time.perf_counter() - begun)
        counted = cache.counted(task.name, steps, name, rate, seeds)
        assert counted is not None
        return counted

    if not chosen.halves:
        loss(0.0, JUDGED_ON)
        return
    found = {half: loss(rate_of(half), TUNED_ON) for half in chosen.halves}
    while len(found) < MOST_RATES and (best := min(found, key=found.__getitem__)) in (
        low := min(found),
        high := max(found),
    ):
        further = best - 1 if best == low else high + 1
        found[further] = loss(rate_of(further), TUNED_ON)
    loss(rate_of(min(found, key=found.__getitem__)), JUDGED_ON)


def run(group: str, steps: Iterable[int], names: Iterable[str], tasks: Sequence[Task]) -> None:
    torch.set_num_threads(1)
    cache = Cache(group)
    for num in steps:
        for name in names:
            if lack := recipe(name).lacks():
                print(f"{name}: passed over, as {lack}", flush=True)
                continue
            begun = time.perf_counter()
            for task in tasks:
                if task.full_batch or not recipe(name).full_batch_only:
                    run_task(cache, task, num, name)
            print(f"{group} {num} steps {name}: {time.perf_counter() - begun:.0f} s", flush=True)


def rename(group: str, name: str, to: str, tasks: Sequence[Task]) -> None:
    """Give what was run of ``name``, and of ``NAME@...``, another name: of weights that were replaced."""
    of_tasks = {task.name for task in tasks}
    path, renamed = Cache(group).path, []
    for line in path.read_text().splitlines():
        recipe, _, told = (row := json.loads(line))["recipe"].partition("@")
        ours = recipe == name and row["task"] in of_tasks
        renamed.append(json.dumps({**row, "recipe": f"{to}@{told}" if told else to}) if ours else line)
    write_atomically(path, "\n".join(renamed) + "\n")


def chosen_tasks(group: str, names: Sequence[str]) -> list[Task]:
    """Of these names, in their order; all, if there are none.

    :raises ValueError: if a name is not one of the group's.
    """
    tasks = {task.name: task for task in GROUPS[group]}
    if missing := [name for name in names if name not in tasks]:
        raise ValueError(f"--task: expected some of {', '.join(tasks)}, got {missing[0]}")
    return [tasks[name] for name in names or tasks]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table", "tasks", "cost", "saved", "rename"])
    parser.add_argument("--group", choices=list(GROUPS), default="development")
    parser.add_argument("--steps", type=int, action="append", help=f"may be repeated; else {STEPS}")
    parser.add_argument("--recipe", action="append", help="may be repeated; else all recipes, or all that was run")
    parser.add_argument("--task", action="append", help="may be repeated, run in this order; else all of the group")
    parser.add_argument("--to", help="with rename: the name that what was run of the one recipe gets")
    given = parser.parse_args()
    steps = given.steps or STEPS
    try:
        tasks = chosen_tasks(given.group, given.task or [])
    except ValueError as error:
        parser.error(str(error))
    if given.what == "rename":
        if not given.to or len(given.recipe or []) != 1:
            parser.error("rename: expected one --recipe and --to")
        rename(given.group, given.recipe[0], given.to, tasks)
        return
    if given.what == "run":
        run(given.group, steps, given.recipe or list(RECIPES), tasks)
        return
    import unseen_tables as tables

    shows = {"table": tables.summary, "tasks": tables.each_task, "cost": tables.cost, "saved": tables.saved}
    print(shows[given.what](Cache(given.group), tasks, steps, given.recipe))


if __name__ == "__main__":
    main()
