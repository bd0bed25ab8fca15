"""What it costs in loss that ``general`` looks at each second, fourth or eighth step alone, and holds rates between.

    python benchmarks/holding.py         # results/holding.jsonl, a line for each training, as it ends
    python benchmarks/holding.py table   # of what has been run

The tasks of ``unseen_tasks.py`` that are for development, at 200 steps, three seeds: the loss on held-out rows over
that with a look at each step, the geometric mean over the tasks.  Tasks with exact gradients have no part in it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from pathlib import Path

import torch
from unseen_recipes import Job
from unseen_tasks import DEVELOPMENT, Task

from probact import LearnedOptimizer
from probact.rules.base import RULES
from probact.runs.trained import TrainedOptimizer

RESULT = Path(__file__).resolve().parent / "results" / "holding.jsonl"
HOLDS, SEEDS, STEPS, WORST = (1, 2, 4, 8), (0, 1, 2), 200, 10.0


def train(task: Task, source: str, hold: int, steps: int, seed: int) -> tuple[float, float]:
    """Loss at the end and at the start."""
    model = task.begin(seed)
    start, loaded = task.held_out_loss(model), TrainedOptimizer.find(source)
    rule = RULES.build(loaded.rule.name, {**loaded.options, "hold": hold})
    rule.load_state_dict(loaded.rule.state_dict())
    optimizer = LearnedOptimizer(model.parameters(), rule, stop=None, total_steps=steps)
    job = Job(task, model, steps, torch.Generator().manual_seed(10_000 + seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(steps):
            optimizer.step(job.closure)
    return task.held_out_loss(model), start


def run(source: str, steps: int) -> None:
    torch.set_num_threads(1)
    done = {(row["task"], row["source"], row["steps"], row["hold"], row["seed"]) for row in rows()}
    for task in DEVELOPMENT:
        for hold in HOLDS if not task.full_batch else ():
            for seed in SEEDS:
                if (task.name, source, steps, hold, seed) in done:
                    continue
                begun = time.perf_counter()
                loss, start = train(task, source, hold, steps, seed)
                row = {"task": task.name, "source": source, "steps": steps, "hold": hold, "seed": seed}
                row |= {"loss": loss, "start": start, "seconds": round(time.perf_counter() - begun, 2)}
                with RESULT.open("a") as file:
                    file.write(json.dumps(row) + "\n")


def rows() -> list[dict[str, object]]:
    return [json.loads(line) for line in RESULT.read_text().splitlines()] if RESULT.exists() else []


def table(source: str, steps: int) -> str:
    """Ratio of each task, and their geometric mean with its standard error."""
    found = [row for row in rows() if row["source"] == source and row["steps"] == steps]
    names = list(dict.fromkeys(row["task"] for row in found))
    lines = ["| task | " + " | ".join(f"hold {hold}" for hold in HOLDS[1:]) + " |", "|---" * len(HOLDS) + "|"]
    ratios: dict[int, list[float]] = {hold: [] for hold in HOLDS[1:]}

    def mean(name: object, hold: int) -> float:
        losses = [min(row["loss"], WORST * row["start"]) for row in found if (row["task"], row["hold"]) == (name, hold)]  # type: ignore[operator, type-var]
        return sum(losses) / len(losses) if len(losses) == len(SEEDS) else math.nan  # type: ignore[arg-type]

    for name in names:
        if math.isnan(mean(name, HOLDS[-1])):
            continue
        each = {hold: mean(name, hold) / mean(name, 1) for hold in ratios}
        for hold, ratio in each.items():
            ratios[hold].append(math.log(ratio))
        lines.append(f"| {name} | " + " | ".join(f"{ratio:.3f}" for ratio in each.values()) + " |")
    logs = [torch.tensor(values, dtype=torch.float64) for values in ratios.values()]
    means = [f"{each.mean().exp():.3f} ± {each.std() / len(each) ** 0.5:.3f}" for each in logs]
    return "\n".join([*lines, f"| geometric mean of {len(logs[0])} | " + " | ".join(means) + " |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table"], nargs="?", default="run")
    parser.add_argument("--source", default="general", help="a shipped optimizer, or a file")
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()
    if given.what == "run":
        run(given.source, given.steps)
    print(table(given.source, given.steps))


if __name__ == "__main__":
    main()
