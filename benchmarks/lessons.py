"""Lessons: a learned rule is taught a hand-designed one's steps on gradients that were recorded before.

A cheaper start than ``fit --imitate``, where the rule makes the path and so has to be unrolled on all coordinates:
here networks are trained by hand-designed rules of several rates, and a fraction of their coordinates is kept.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from probact.problems.base import OptimizeeFamily, value_and_grad
from probact.problems.images import MNIST
from probact.rules.base import RULES, UpdateRule
from probact.rules.hand_designed import NAG
from probact.runs.trained import TrainedOptimizer
from probact.support.files import write_atomically
from probact.support.trees import flatten, map_params, map_state, per_problem

SCALE = 0.1
"""What the family ``mnist`` recommends for the rule's steps."""


@dataclass(frozen=True)
class Lessons:
    """How a rule is taught.

    :ivar lr: the teacher's rate, Nesterov momentum of .9.
    :ivar spread: the recorded paths have rates log-uniform between ``lr / spread`` and ``lr * spread``.
    :ivar paths, steps: networks and steps that are recorded.
    :ivar window: steps between updates.
    :ivar kept: coordinates of the largest tensor that are recorded; of the others all are.
    :ivar at_once, seen: networks of one update, and of the coordinates kept those that it sees.
    """

    lr: float = 0.3
    spread: float = 3.0
    paths: int = 32
    steps: int = 200
    window: int = 20
    kept: int = 800
    at_once: int = 4
    seen: int = 200
    updates: int = 600
    meta_lr: float = 0.01


class Recorded(NamedTuple):
    """Gradients ``(steps, paths, coordinates)`` along the paths, the teacher's steps there, and how many coordinates of
    the whole each stands for, ``(coordinates,)``; the first ``whole`` of these are whole tensors."""

    gradients: Tensor
    shown: Tensor
    weight: Tensor
    whole: int


def record_paths(family: OptimizeeFamily, lessons: Lessons, random: torch.Generator) -> Recorded:
    problems = family.sample(lessons.paths, random)
    theta = problems.theta0
    rates = lessons.lr * torch.exp((torch.rand(lessons.paths, generator=random) * 2 - 1) * math.log(lessons.spread))
    coordinates, weight, whole = _kept([tensor[0].numel() for tensor in theta.values()], lessons.kept, random)
    velocity, table = map_params(torch.zeros_like, theta), []
    for step in range(lessons.steps):
        _, grads = value_and_grad(partial(problems.loss, step=step), theta)
        with torch.no_grad():
            table.append(flatten(grads)[:, coordinates].clone())
            velocity = map_params(lambda v, g: 0.9 * v + g, velocity, grads)
            theta = map_params(lambda t, v, g: t - per_problem(rates, t) * (g + 0.9 * v), theta, velocity, grads)
    return Recorded(torch.stack(table), _shown(table, lessons.lr), weight, whole)


def _kept(sizes: list[int], kept: int, random: torch.Generator) -> tuple[Tensor, Tensor, int]:
    """All coordinates but the largest tensor's, and ``kept`` of those; what each stands for; how many the first are."""
    largest = sizes.index(max(sizes))
    start = sum(sizes[:largest])
    end = start + sizes[largest]
    chosen = torch.arange(start, end)[torch.randperm(end - start, generator=random)[:kept]]
    others = torch.cat([torch.arange(start), torch.arange(end, sum(sizes))])
    weight = torch.cat([torch.ones(len(others)), torch.full((len(chosen),), (end - start) / kept)])
    return torch.cat([others, chosen]), weight, len(others)


def _shown(gradients: list[Tensor], lr: float) -> Tensor:
    """The teacher's steps on these gradients."""
    teacher, shown = NAG(lr=lr), []
    state = teacher.init({"theta": gradients[0]})
    for gradient in gradients:
        update, state = teacher.update({"theta": gradient}, state, {})
        shown.append(update["theta"])
    return torch.stack(shown)


def distances(rule: UpdateRule, recorded: Recorded, lessons: Lessons, random: torch.Generator) -> Iterator[Tensor]:
    """Without end, of a window of steps: mean over them and the networks of |u - v|^2 / |v|^2, u the rule's step and v
    the teacher's; the rule's memory goes on from window to window."""
    whole = recorded.whole
    while True:
        paths = torch.randperm(lessons.paths, generator=random)[: lessons.at_once]
        some = whole + torch.randperm(lessons.kept, generator=random)[: lessons.seen]
        columns = torch.cat([torch.arange(whole), some])
        weight = recorded.weight[columns].clone()
        weight[whole:] *= lessons.kept / lessons.seen
        gradients, shown = (table[:, paths][:, :, columns] for table in recorded[:2])
        params = {"theta": torch.zeros_like(gradients[0])}
        state, loss = rule.init(params), torch.zeros(len(paths))
        for start in range(0, lessons.steps, lessons.window):
            state, found = map_state(Tensor.detach, state), []
            for step in range(start, min(start + lessons.window, lessons.steps)):
                made = rule.step({"theta": gradients[step]}, state, params, loss)
                state, away = made.state, made.update["theta"] - shown[step]
                found.append((away.square() @ weight) / (shown[step].square() @ weight))
            yield torch.stack(found).mean()


def teach(out: Path, seed: int, lessons: Lessons) -> None:
    """Teach a new LSTM and write it to ``out``, for ``fit --begin-with``, and how it went beside it, as JSON."""
    begun, begun_cpu = time.monotonic(), time.process_time()
    recorded = record_paths(MNIST(held_out=False), lessons, torch.Generator().manual_seed(7919 * seed + 1))
    torch.manual_seed(seed)
    options = {"scale": SCALE}
    rule = RULES.build("lstm", options)
    optimizer = torch.optim.Adam(rule.parameters(), lr=lessons.meta_lr)
    found: list[float] = []
    for loss in distances(rule, recorded, lessons, torch.Generator().manual_seed(7919 * seed + 2)):
        optimizer.param_groups[0]["lr"] = lessons.meta_lr * 0.5 * (1 + math.cos(math.pi * len(found) / lessons.updates))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(rule.parameters(), 1.0)
        optimizer.step()
        found.append(loss.item())
        if len(found) % 100 == 0:
            print(f"seed {seed}: update {len(found)}, |u - v|^2 / |v|^2 {_mean(found):.4f}", flush=True)
        if len(found) == lessons.updates:
            break
    told = {
        "distance": _mean(found),
        "seconds": time.monotonic() - begun,
        "cpu_seconds": time.process_time() - begun_cpu,
    }
    write_atomically(out.with_suffix(".json"), json.dumps(told) + "\n")
    TrainedOptimizer(rule, options, None, 0.95, lessons.steps).save(out)


def _mean(found: list[float]) -> float:
    """Of the last 100."""
    return sum(found[-100:]) / len(found[-100:])
