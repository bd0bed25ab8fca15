"""What a step of the drop-in costs beside fused AdamW: the update alone, and a whole training step.

    python benchmarks/update_cost.py     # results/update-cost.json
    python benchmarks/update_cost.py --without "general compiled"    # where the compiler takes too long

The update alone: perceptrons of about 10^5, 10^6 and 10^7 parameters with gradients at hand. A whole training step: of
the CNN and the transformer of ``unseen_tasks.py``. One thread; all optimizers take turns, four steps each in every
round, as ``general`` looks at each fourth step alone, after those that have a look each (a task's first 150). The
processor's time of the thread counts, and of all rounds the least, as other work on the machine only adds to it; what
takes more than a second has one round. Numbers a parameter, of four bytes: what the optimizer keeps from step to step,
the room that it works in among them. ``torch.optim.Muon``, for its part of the parameters, the matrices alone, is the
peer that makes singular values equal too.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from unseen_recipes import Job
from unseen_tasks import VERDICT

from probact import LearnedOptimizer
from probact.rules.base import UpdateRule
from probact.support.files import write_atomically
from probact.support.trees import leaves

RESULT = Path(__file__).resolve().parent / "results" / "update-cost.json"
WIDTHS = {"1e5": (784, 110, 100, 10), "1e6": (784, 600, 600, 300, 10), "1e7": (1000, 2000, 2000, 2000, 100)}
ROUNDS = {"1e5": 20, "1e6": 10, "1e7": 3}
ALL = ("adamw fused", "adamw foreach", "muon", "general", "general bfloat16", "general compiled", "subspace-mlp")
LEARNED = ALL[3:]
FIRST, FIRST_OF_A_TASK, CYCLE = 20, 150, 4
"""Steps that are not counted, of the update alone and of a task, where the loss jitters by most of its fall before, and
those of a round.
"""
ROUNDS_OF_A_TASK = 15
Step = Callable[[], object]


def optimizers(
    make: Callable[[], nn.Module], names: Sequence[str]
) -> dict[str, tuple[nn.Module, torch.optim.Optimizer]]:
    """Each with a model of its own."""
    found: dict[str, tuple[nn.Module, torch.optim.Optimizer]] = {}
    for name in names:
        torch.manual_seed(0)
        model = make()
        if name in LEARNED:
            source, _, how = name.partition(" ")
            found[name] = (
                model,
                LearnedOptimizer.from_pretrained(
                    model.parameters(),
                    source,
                    stop=None,
                    total_steps=100_000,
                    compile=how == "compiled",
                    memory_dtype=torch.bfloat16 if how == "bfloat16" else None,
                ),
            )
        elif name == "muon":
            matrices = [param for param in model.parameters() if param.dim() == 2]
            found[name] = model, torch.optim.Muon(matrices, 1e-4)
        else:
            found[name] = model, torch.optim.AdamW(model.parameters(), 1e-4, **{name.split()[1]: True})
    return found


def numbers_kept(optimizer: torch.optim.Optimizer, parameters: int) -> float:
    if isinstance(optimizer, LearnedOptimizer):
        kept = [leaf for cohort in optimizer._standing.cohorts for leaf in leaves(cohort.carry)]
        rooms = [part.room for part in optimizer.rule.modules() if isinstance(part, UpdateRule) and part.room]
        kept += [tensor for room in rooms for tensor in room.tensors()]
    else:
        kept = [part for state in optimizer.state.values() for part in state.values()]
    sizes = {part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for part in kept}
    return sum(sizes.values()) / 4 / parameters


def least(steps: dict[str, Step], rounds: int, first: int = FIRST) -> dict[str, float]:
    """Milliseconds a step, after the ``first``."""
    times = {name: float("inf") for name in steps}
    for name, step in steps.items():
        for _ in range(first if name.startswith("general") else 0):
            step()
    for _ in range(rounds):
        for name, step in steps.items():
            cycle = CYCLE if name.startswith("general") else 1
            if 1e3 < times[name] < float("inf"):
                continue
            begun = time.thread_time()
            for _ in range(cycle):
                step()
            times[name] = min(times[name], 1e3 * (time.thread_time() - begun) / cycle)
    return times


def row(times: dict[str, float]) -> dict[str, dict[str, float]]:
    return {
        name: {"ms": round(ms, 4), "times fused AdamW": round(ms / times["adamw fused"], 2)}
        for name, ms in times.items()
    }


def perceptron(widths: tuple[int, ...]) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def update_alone(size: str, names: Sequence[str]) -> dict[str, object]:
    having = optimizers(lambda: perceptron(WIDTHS[size]), names)
    generator = torch.Generator().manual_seed(1)

    def step_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> Step:
        for param in model.parameters():
            param.grad = torch.randn(param.shape, generator=generator)
        loss = torch.tensor(1.0)
        return (lambda: optimizer.step(loss)) if isinstance(optimizer, LearnedOptimizer) else optimizer.step  # type: ignore[arg-type]

    steps = {name: step_of(*each) for name, each in having.items()}
    found: dict[str, object] = dict(row(least(steps, ROUNDS[size])))
    parameters = sum(param.numel() for param in having["general"][0].parameters())
    kept = {name: round(numbers_kept(optimizer, parameters), 2) for name, (_, optimizer) in having.items()}
    return {"parameters": parameters, "update": found, "numbers a parameter": kept}


def training_step(name: str, names: Sequence[str]) -> dict[str, object]:
    (task,) = [task for task in VERDICT if task.name == name]
    having = optimizers(lambda: task.begin(0), names)

    def step_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> Step:
        job = Job(task, model, FIRST_OF_A_TASK + CYCLE * ROUNDS_OF_A_TASK, torch.Generator().manual_seed(0))

        def step() -> Tensor:
            loss = job.closure()
            optimizer.step(loss) if isinstance(optimizer, LearnedOptimizer) else optimizer.step()  # type: ignore[arg-type]
            return loss

        return step

    times = least({name: step_of(*each) for name, each in having.items()}, ROUNDS_OF_A_TASK, FIRST_OF_A_TASK)
    return {"parameters": sum(param.numel() for param in having["general"][0].parameters()), "step": row(times)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without", action="append", default=[], choices=ALL[1:])
    without = parser.parse_args().without
    names = [name for name in ALL if name not in without]
    torch.set_num_threads(1)
    result = {"update alone": {size: update_alone(size, names) for size in WIDTHS}}
    result["training step"] = {name: training_step(name, names) for name in ("fashion-cnn", "markov-transformer")}
    write_atomically(RESULT, json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
