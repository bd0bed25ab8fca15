"""The directions of ``tensorwise``, each alone: what each is worth to a tuned optimizer with nothing learned in it.

    python benchmarks/directions.py 50 200     # results/directions.json

A step is -rate (1 - share of the steps done) direction, with a root mean square of .3 where that is fixed; what is no
matrix goes along m / sqrt(v) in any case.  On the minibatch tasks of ``unseen_tasks.DEVELOPMENT``, the rate tuned for
each task and number of steps as there (seven half powers of ten, seeds 100 and 101), judged on seeds 0, 1 and 2.  A
number is the geometric mean over tasks of the held-out loss at the end over that of tuned AdamW with a cosine.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from unseen import JUDGED_ON, TUNED_ON, Cache
from unseen_recipes import Job, rate_of
from unseen_tables import FLOOR
from unseen_tasks import DEVELOPMENT, Task

from probact.rules import matrices
from probact.rules.tensorwise.memory import FAST, SLOW, SQUARE
from probact.support.files import write_atomically

RESULT = Path(__file__).resolve().parent / "results" / "directions.json"
HALVES = range(-7, 0)
SIZE = 0.3
Made = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From g, m, n and sqrt(v), all without bias."""


def shaped(change: Callable[..., dict[int, Tensor]]) -> Made:
    def made(g: Tensor, m: Tensor, n: Tensor, root: Tensor) -> Tensor:
        found = change([m.reshape(1, -1)], [m.shape])
        return SIZE * found[0].view_as(m) if matrices.is_matrix(m.shape) and found else m / root

    return made


DIRECTIONS: dict[str, Made] = {
    "m / sqrt(v)": lambda g, m, n, root: m / root,
    "n / sqrt(v)": lambda g, m, n, root: n / root,
    "g / sqrt(v)": lambda g, m, n, root: g / root,
    "balanced(m)": shaped(matrices.balanced),
    "orthogonal(m)": shaped(matrices.orthogonal),
}


class Along(torch.optim.Optimizer):
    def __init__(self, model: nn.Module, direction: str, rate: float, steps: int) -> None:
        super().__init__(model.parameters(), {})
        self.made, self.rate, self.steps, self.count = DIRECTIONS[direction], rate, steps, 0

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        self.count += 1
        left = 1 - (self.count - 1) / self.steps
        for param in (param for group in self.param_groups for param in group["params"] if param.grad is not None):
            grad, state = param.grad, self.state[param]
            if not state:
                state.update({name: torch.zeros_like(param) for name in ("fast", "slow", "square")})
            means = []
            for name, decay, value in (("fast", FAST, grad), ("slow", SLOW, grad), ("square", SQUARE, grad.square())):
                state[name].lerp_(value, 1 - decay)
                means.append(state[name] / (1 - decay**self.count))
            m, n, v = means
            param.sub_(self.rate * left * self.made(grad, m, n, v.sqrt().clamp_min(1e-15)))


def train(task: Task, steps: int, direction: str, rate: float, seed: int) -> float:
    model = task.begin(seed)
    most = 10 * task.held_out_loss(model)
    job = Job(task, model, steps, torch.Generator().manual_seed(10_000 + seed))
    optimizer = Along(model, direction, rate, steps)
    for _ in range(steps):
        if not math.isfinite(float(job.closure())):
            return most
        optimizer.step()
    loss = task.held_out_loss(model)
    return min(loss, most) if math.isfinite(loss) else most


def judged(task: Task, steps: int, direction: str) -> float:
    tuning = {
        rate: sum(train(task, steps, direction, rate, seed) for seed in TUNED_ON) for rate in map(rate_of, HALVES)
    }
    best = min(tuning, key=tuning.__getitem__)
    return sum(train(task, steps, direction, best, seed) for seed in JUDGED_ON) / len(JUDGED_ON)


def main(numbers: list[int]) -> None:
    torch.set_num_threads(1)
    cache = Cache("development")
    found: dict[str, dict[str, dict[str, float]]] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for steps in numbers:
        for direction in DIRECTIONS:
            of = found.setdefault(str(steps), {}).setdefault(direction, {})
            begun = time.perf_counter()
            for task in DEVELOPMENT:
                reference = cache.judged(task.name, steps, "adamw")
                if not task.full_batch and task.name not in of and reference is not None:
                    floor = FLOOR * cache.start(task.name)
                    of[task.name] = (judged(task, steps, direction) + floor) / (reference + floor)
                    write_atomically(RESULT, json.dumps(found, indent=1) + "\n")
            mean = math.exp(sum(map(math.log, of.values())) / len(of))
            print(f"{steps} {direction}: {mean:.3f} ({time.perf_counter() - begun:.0f} s)", flush=True)


if __name__ == "__main__":
    main([*map(int, sys.argv[1:])] or [50, 200])
