"""Whether weights that were trained on longer unrolls and more kinds of problems are better than those of ``general``.

    python benchmarks/learned.py train general          # what they begin with: runs/general
    python benchmarks/longer.py train evolved-0         # or another of TRAININGS, and the seed: runs/evolved-0.pt
    python benchmarks/longer.py run evolved-0           # on tasks for choosing: results/unseen-development.jsonl
    python benchmarks/longer.py table                   # of what has been run

Of each task with minibatches the held-out loss over that of ``general``, the mean of three seeds each; over tasks the
geometric mean with its standard error.  New weights would ship if they were better by more than that error at two of
the three numbers of steps, and not worse at the third.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from learned import RUNS, WEIGHTS, fit
from pages import number, table
from unseen import STEPS, Cache, run
from unseen_tables import geometric_mean, label, ratios
from unseen_tasks import DEVELOPMENT

from probact.runs.run import Run
from probact.runs.trained import TrainedOptimizer

TRAINED = "--family assorted --rule tensorwise --begin-with runs/general --halting none --objective final-loss"
TRAININGS = {
    "evolved": f"{TRAINED} --horizon 500 --horizon-from 30 --tell-horizon --gradient pes --truncate 0 --pes-sigma 0.01 "
    "--meta-steps 240 --batch 16 --lr 0.001 --validate-every 240 --validation-problems 2 --test-problems 4",
    "backpropagated": f"{TRAINED} --horizon 400 --horizon-from 30 --tell-horizon --through-path --truncate 100 "
    "--meta-steps 120 --batch 8 --lr 0.001 --validate-every 1000 --validation-problems 1 --test-problems 4",
}
MINIBATCH = [task for task in DEVELOPMENT if not task.full_batch]
SHIPPED = "general"


def file_of(name: str) -> Path:
    """The file that ``train`` writes."""
    return RUNS / f"{name}.pt"


def recipe_of(name: str) -> str:
    return f"{name}=runs/{file_of(name).name}"


def train(name: str) -> None:
    """What ships, with the noisy part's weights as the training ``KIND-SEED`` left them, however they validated."""
    kind, _, seed = name.rpartition("-")
    fit(RUNS / f"longer-{name}", f"{TRAININGS[kind]} --seed {seed}")
    weights = Run.open(RUNS / f"longer-{name}").best().state()["weights"]
    found = TrainedOptimizer.load(WEIGHTS / f"{SHIPPED}.pt")
    found.rule.parts["tensorwise"].load_state_dict({key.removeprefix("rule."): part for key, part in weights.items()})
    found.save(file_of(name))


def known(cache: Cache) -> list[str]:
    """Recipes of such files that have been run."""
    names = {name for _, _, name in cache.rates}
    return sorted(name for name in names if label(name).rpartition("-")[0] in TRAININGS)


def means(cache: Cache, names: list[str]) -> str:
    """A row for each file and number of steps."""
    rows = []
    for name in names:
        for num in STEPS:
            if found := ratios(cache, MINIBATCH, num, name, SHIPPED):
                better = f"{sum(ratio < 1 for ratio in found.values())} of {len(found)}"
                rows.append([label(name), str(num), geometric_mean(found), better])
    return table(["weights", "steps", f"loss over that of {SHIPPED}", "better on"], rows)


def each(cache: Cache, names: list[str]) -> str:
    """A row for each task."""
    found = {(name, num): ratios(cache, MINIBATCH, num, name, SHIPPED) for name in names for num in STEPS}
    shown = [key for key, of_task in found.items() if of_task]
    rows = [[task.name, *(number(found[key].get(task.name), 3) for key in shown)] for task in MINIBATCH]
    return table(["task", *(f"{label(name)} @{num:,}" for name, num in shown)], rows)


def section() -> str:
    """Both tables."""
    cache = Cache("development")
    return f"{means(cache, known(cache))}\n\n{each(cache, known(cache))}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "run", "table"])
    parser.add_argument("name", nargs="?", help=f"one of {', '.join(TRAININGS)}, a dash and the seed")
    parser.add_argument("--steps", type=int, action="append", help=f"may be repeated; else {STEPS}")
    given = parser.parse_args()
    if given.what == "table":
        print(section())
        return
    kind, _, seed = (given.name or "").rpartition("-")
    if kind not in TRAININGS or not seed.isdigit():
        parser.error(f"expected one of {', '.join(TRAININGS)}, a dash and the seed, got {given.name!r}")
    if given.what == "train":
        train(given.name)
    else:
        run("development", given.steps or STEPS, [SHIPPED, recipe_of(given.name)], MINIBATCH)


if __name__ == "__main__":
    main()
