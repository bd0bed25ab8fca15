"""A user's own loop around the drop-in, and what it promises there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from probact import LearnedOptimizer
from probact.inference.objectives.base import Objective
from probact.judging.trajectory import record
from probact.problems.base import Optimizee
from probact.rules.safeguarded import Safeguarded
from probact.unrolling.rollout import unroll


class Loop:
    """A user's own loop on one problem, with one parameter that is used and one that is not."""

    def __init__(self, alone: Optimizee, kind: type[LearnedOptimizer] = LearnedOptimizer, **settings: Any) -> None:
        self.alone = alone
        theta = alone.theta0["theta"][0]
        self.params = [nn.Parameter(theta.clone()), nn.Parameter(theta.new_ones(3))]
        self.optimizer = kind(self.params, **settings)

    def closure(self) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.alone.nll({"theta": self.params[0].unsqueeze(0)}).sum()
        loss.backward()
        return loss

    def run(self, num_looks: int) -> list[tuple[float, float | None, float | None]]:
        """Loss, mass of q(t|x) spent and hazard, at each look."""
        path = []
        for _ in range(num_looks):
            loss = float(self.optimizer.step(self.closure).detach())
            path.append((loss, self.optimizer.halting_probability, self.optimizer.hazard))
        return path


def assert_walks_as_an_unroll(
    trained: Objective, alone: Optimizee, safeguard: bool = False, kind: type[LearnedOptimizer] = LearnedOptimizer
) -> None:
    """Losses, parameters, hazards and mass spent of a user's loop are those of ``unroll`` and ``OnlineBelief``."""
    loop = Loop(alone, kind, rule=trained.rule, posterior=trained.posterior, stop=None, safeguard=safeguard)
    path = loop.run(21)
    worn = Safeguarded(trained.rule) if safeguard else trained.rule
    rollout = unroll(worn, alone, 21)
    expected = record(worn, alone, 20, trained.posterior)
    torch.testing.assert_close(torch.tensor([loss for loss, _, _ in path]), rollout.nll[:21, 0].detach())
    torch.testing.assert_close(loop.params[0].detach(), rollout.params["theta"][0], rtol=1e-6, atol=1e-6)
    assert path[0][1:] == (None, None)
    for (_, halted, hazard), known in zip(path[1:], expected.known, strict=True):
        assert halted == pytest.approx(float(known.halted), abs=1e-6)
        assert hazard == pytest.approx(float(known.hazard), abs=1e-6)
    assert loop.params[1].tolist() == [1, 1, 1]
    assert not loop.optimizer.should_stop()
    assert loop.optimizer.num_steps == 21


def assert_stops_for_good(loop: Loop) -> float:
    """It leaves the parameters where the last look found them, whatever comes after; gives back the loss there."""
    looks, theta, loss = 0, torch.empty(0), 0.0
    while not loop.optimizer.should_stop():
        theta = loop.params[0].detach().clone()
        loss = float(loop.optimizer.step(loop.closure).detach())
        looks += 1
    for later, *_ in loop.run(2):
        assert later == pytest.approx(loss)
    assert torch.equal(loop.params[0], theta)
    assert loop.optimizer.num_steps == looks - 1
    return loss


def descend(optimizer: torch.optim.Optimizer, loss_of: Callable[[], Tensor], num_steps: int) -> list[float]:
    """The loop that most people write; the losses that it saw."""
    losses = []
    for _ in range(num_steps):
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step(loss=loss)  # type: ignore[call-arg]
        losses.append(loss.item())
    return losses


class Regression:
    """A linear layer on data of its own, the same each time."""

    def __init__(self, name: str = "subspace-mlp", **settings: Any) -> None:
        draws = torch.Generator().manual_seed(3)
        self.inputs = torch.randn(64, 5, generator=draws)
        self.model = nn.Linear(5, 1)
        with torch.no_grad():
            for param in self.model.parameters():
                param.copy_(0.3 * torch.randn(param.shape, generator=draws))
        self.optimizer = LearnedOptimizer.from_pretrained(self.model.parameters(), name, **{"stop": None, **settings})

    def loss(self) -> Tensor:
        inputs = self.inputs.to(self.model.weight)
        loss: Tensor = (self.model(inputs) - inputs.sum(1, keepdim=True)).square().mean()
        return loss

    def run(self, num_steps: int) -> list[float]:
        return descend(self.optimizer, self.loss, num_steps)

    def run_scaled(self, step: Callable[[torch.amp.GradScaler, Tensor], Any]) -> torch.amp.GradScaler:
        """Five batches under a scaler, of which the gradient of the third overflows."""
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        for factor in (1, 1, float("inf"), 1, 1):
            self.optimizer.zero_grad()
            loss = self.loss()
            scaler.scale(loss * factor).backward()
            step(scaler, loss)
            scaler.update()
        return scaler


def minibatches(optimizer: LearnedOptimizer, model: nn.Module, steps: range) -> None:
    """Of which some leave ReLU units without a gradient."""
    for step in steps:
        torch.manual_seed(step)
        x = torch.randn(8, 6)
        optimizer.zero_grad()
        loss = (model(x) - x[:, :3]).square().mean()
        loss.backward()
        optimizer.step(loss)
