"""What the project's page on shipped optimizers shows of ``unseen.py``."""

from __future__ import annotations

from statistics import median

from pages import number, table
from unseen import STEPS, Cache
from unseen_tables import UNTUNED, geometric_mean, ratios, worst
from unseen_tasks import GROUPS

HARM = 1.05
"""A ratio above counts as harm."""
HARM_AT = (200, 1000)
REFERENCES = (("muon", "Muon + cosine, tuned"), ("adamw", "AdamW + cosine, tuned"), (UNTUNED, "AdamW 1e-3"))


def against_recipes(name: str = "general", group: str = "verdict") -> str:
    """``name`` against three references: a row for each number of steps."""
    cache, tasks = Cache(group), GROUPS[group]
    by_minibatch = [task for task in tasks if not task.full_batch]
    rows = []
    for reference, what in REFERENCES:
        for num in STEPS:
            if found := ratios(cache, tasks, num, name, reference):
                means = [
                    geometric_mean(ratios(cache, judged, num, name, reference, floor))
                    for judged, floor in ((tasks, 0.0), (by_minibatch, 0.0))
                ]
                wins = f"{sum(ratio < 1 for ratio in found.values())} of {len(found)}"
                middle = number(median(found.values()), 3)
                rows.append([what, str(num), means[0], geometric_mean(found), means[1], middle, wins, worst(found)])
    head = ["against", "steps", "all tasks", "with the floor", "minibatch tasks", "median", "better on", "worst task"]
    return table(head, rows)


def harm(name: str = "general", group: str = "verdict") -> str:
    """Ratio of each task to AdamW that nobody tuned, without floor; bold where it is harm."""
    cache = Cache(group)
    found = {num: ratios(cache, GROUPS[group], num, name, UNTUNED, 0.0) for num in HARM_AT}
    rows = []
    for task in GROUPS[group]:
        cells = [number(found[num].get(task.name), 3) for num in HARM_AT]
        harms = [found[num].get(task.name, 0.0) > HARM for num in HARM_AT]
        rows.append([task.name, *(f"**{cell}**" if bad else cell for cell, bad in zip(cells, harms, strict=True))])
    return table(["task", *(f"after {num:,} steps" for num in HARM_AT)], rows)
