"""Recipes of ``unseen.py``: what a careful engineer tunes, and learned optimizers as they are shipped.

All know the number of steps.  A step is one gradient of the training loss.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import math
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import celo as celo_optimizer
import torch
from torch import Tensor, nn
from unseen_tasks import Task

from probact import LearnedOptimizer

HIDDEN = "hidden"
Optimizers = Sequence[torch.optim.Optimizer]


@dataclass
class Job:
    """One training of ``model``, which recipes change in place."""

    task: Task
    model: nn.Module
    steps: int
    generator: torch.Generator

    def closure(self) -> Tensor:
        self.model.zero_grad()
        loss = self.task.training_loss(self.model, self.task.batch(self.generator))
        loss.backward()
        return loss.detach()

    @property
    def decay(self) -> float:
        """torch's weight decay for AdamW; none where the loss has a penalty of its own or can go to 0."""
        return 0.0 if self.task.penalty or self.task.to_zero else 0.01


Train = Callable[[Job, float], None]


@dataclass(frozen=True)
class Recipe:
    """
    :ivar train: trains with a rate; raises ``FloatingPointError`` where the loss is lost.
    :ivar halves: the rates that it is tuned over at first, in half powers of ten; none: it has no rate.
    :ivar lacks: says what it cannot run without, if that is not here.
    """

    train: Train
    halves: range = range(0)
    full_batch_only: bool = False
    lacks: Callable[[], str] = str


def package(name: str) -> Callable[[], str]:
    """Says of a package that it is not installed, where it is not."""

    def lacks() -> str:
        try:
            importlib.import_module(name)
        except ImportError:
            return f"{name} is not installed"
        return ""

    return lacks


def rate_of(half: int) -> float:
    return float(f"{10 ** (half / 2):.2g}")


# Loops ---------------------------------------------------------------------------------------------------------------


def cosine(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2


def level(_: float) -> float:
    return 1.0


def follow(job: Job, optimizers: Optimizers, shape: Callable[[float], float] = cosine) -> None:
    """All steps, the rates by ``shape`` of the share of the steps that is done."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    rates = [group["lr"] for group in groups]
    for step in range(job.steps):
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * shape(step / job.steps)
        if not math.isfinite(float(job.closure())):
            raise FloatingPointError
        for optimizer in optimizers:
            optimizer.step()


def adamw(job: Job, rate: float) -> None:
    follow(job, [torch.optim.AdamW(job.model.parameters(), rate, weight_decay=job.decay, fused=True)])


def adamw_untuned(job: Job, _: float) -> None:
    follow(job, [torch.optim.AdamW(job.model.parameters(), 1e-3, fused=True)])


def sgd(job: Job, rate: float) -> None:
    follow(job, [torch.optim.SGD(job.model.parameters(), rate, momentum=0.9, fused=True)])


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """All matrices (and filters) but embeddings and the output layer's."""
    embeds = {
        param
        for part in model.modules()
        if isinstance(part, nn.Embedding | nn.EmbeddingBag)
        for param in part.parameters()
    }
    return [param for param in model.parameters() if param.ndim >= 2 and param not in embeds][:-1]


def muon(job: Job, rate: float) -> None:
    """Muon for the hidden matrices, its steps as long as AdamW's, which has the rest; filters are seen as matrices."""
    hidden = hidden_matrices(job.model)
    views = [nn.Parameter(param.detach().view(len(param), -1)) for param in hidden]
    rest = [param for param in job.model.parameters() if all(param is not other for other in hidden)]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, rate, weight_decay=job.decay, fused=True)]
    if hidden:
        own = torch.optim.Muon(views, rate, weight_decay=job.decay, adjust_lr_fn="match_rms_adamw")

        def pass_gradients(*_: Any) -> None:
            for view, param in zip(views, hidden, strict=True):
                view.grad = None if param.grad is None else param.grad.reshape(view.shape)

        own.register_step_pre_hook(pass_gradients)
        optimizers.append(own)
    follow(job, optimizers)


def schedule_free(job: Job, rate: float) -> None:
    """Warm-up over a twentieth, as its authors advise; statistics of batches are taken again at the average."""
    kind = importlib.import_module("schedulefree").AdamWScheduleFree
    warmup = job.steps // 20
    optimizer = kind(job.model.parameters(), rate, weight_decay=job.decay, warmup_steps=warmup, foreach=False)
    optimizer.train()
    follow(job, [optimizer], level)
    optimizer.eval()
    if any(isinstance(part, nn.BatchNorm2d) for part in job.model.modules()):
        with torch.no_grad():
            for _ in range(50):
                job.task.training_loss(job.model, job.task.batch(job.generator))


def prodigy(job: Job, rate: float) -> None:
    kind = importlib.import_module("prodigyopt").Prodigy
    with contextlib.redirect_stdout(io.StringIO()):  # it says that weight decay is decoupled, each time
        optimizer = kind(job.model.parameters(), d_coef=rate, weight_decay=job.decay, use_bias_correction=True)
    follow(job, [optimizer])


class SpentError(Exception):
    """All gradients are used up."""


def lbfgs(job: Job, rate: float) -> None:
    """With a strong Wolfe line search; it ends at the lowest training loss that it saw."""
    optimizer = torch.optim.LBFGS(
        job.model.parameters(),
        rate,
        10 * job.steps,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )
    best, lowest, spent = copy.deepcopy(job.model.state_dict()), math.inf, 0

    def closure() -> Tensor:
        nonlocal best, lowest, spent
        if spent == job.steps:
            raise SpentError
        spent += 1
        loss = job.closure()
        if float(loss) < lowest:
            best, lowest = copy.deepcopy(job.model.state_dict()), float(loss)
        return loss

    try:
        while True:
            optimizer.step(closure)
    except SpentError:
        job.model.load_state_dict(best)


def learned(source: str, told: str, job: Job, _: float) -> None:
    """As shipped; it is told the number of steps, or ``told`` times as many, or nothing."""
    total = None if told == HIDDEN else round(float(told or 1) * job.steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where there are more steps than it was told
        optimizer = LearnedOptimizer.from_pretrained(job.model.parameters(), source, stop=None, total_steps=total)
        for _ in range(job.steps):
            optimizer.step(job.closure)


def celo(job: Job, _: float) -> None:
    """Another learned optimizer, as published; it is told the number of steps."""
    weights = celo_optimizer.read_weights(os.environ[celo_optimizer.WEIGHTS])
    optimizer = celo_optimizer.Celo(list(job.model.parameters()), job.steps, weights)
    for _step in range(job.steps):
        loss = job.closure()
        if not math.isfinite(float(loss)):
            raise FloatingPointError
        optimizer.step(loss)


RECIPES = {
    "adamw": Recipe(adamw, range(-6, 0)),
    "muon": Recipe(muon, range(-6, 0)),
    "sgd": Recipe(sgd, range(-5, 1)),
    "schedule-free": Recipe(schedule_free, range(-6, 0), lacks=package("schedulefree")),
    "prodigy": Recipe(prodigy, range(-3, 3), lacks=package("prodigyopt")),
    "lbfgs": Recipe(lbfgs, range(-4, 2), full_batch_only=True),
    "adamw-untuned": Recipe(adamw_untuned),
    "celo": Recipe(celo, lacks=celo_optimizer.lacks_weights),
}


def recipe(name: str) -> Recipe:
    """One of ``RECIPES``; else a learned optimizer by its name, by its file, or as ``LABEL=FILE``, told how many steps
    there are.

    ``NAME@hidden`` is not told, ``NAME@2`` is told twice as many.
    """
    if name in RECIPES:
        return RECIPES[name]
    source, _, told = name.split("=", 1)[-1].partition("@")
    return Recipe(partial(learned, source, told))
