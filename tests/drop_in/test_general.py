"""The shipped optimizer that serves strangers: on losses of minibatches and exact ones, beside what they would use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from probact import LearnedOptimizer

STEPS = 60
Make = Callable[[], torch.optim.Optimizer]


class Waves(nn.Module):
    """A small network on a wave in eight dimensions; ``batch`` rows a step, or all."""

    def __init__(self, seed: int, batch: int | None, factor: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.network = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 1))
        self.generator = torch.Generator().manual_seed(100 + seed)
        self.x = torch.randn(600, 8, generator=self.generator)
        self.y = torch.sin(self.x @ torch.ones(8)).unsqueeze(-1)
        self.batch, self.factor = batch, factor

    def closure(self) -> Tensor:
        rows = slice(None) if self.batch is None else torch.randint(600, (self.batch,), generator=self.generator)
        self.zero_grad()
        loss = self.factor * (self.network(self.x[rows]) - self.y[rows]).square().mean()
        loss.backward()
        return loss.detach()

    def whole(self) -> float:
        with torch.no_grad():
            return float((self.network(self.x) - self.y).square().mean())


def ended(model: Waves, optimizer: torch.optim.Optimizer, decays: bool = False) -> float:
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS) if decays else None
    for _ in range(STEPS):
        optimizer.step(model.closure)
        if schedule:
            schedule.step()
    return model.whole()


def general(model: nn.Module, **options: Any) -> LearnedOptimizer:
    return LearnedOptimizer.from_pretrained(model.parameters(), total_steps=STEPS, stop=None, **options)


@pytest.mark.parametrize("batch", [16, None])
def test_it_ends_lower_than_adamw_at_its_best_of_three_rates(batch: int | None) -> None:
    """Mean over three seeds; AdamW with a cosine, its rate chosen on these very problems."""
    ours, theirs = 0.0, {1e-3: 0.0, 3e-3: 0.0, 1e-2: 0.0}
    for seed in range(3):
        model = Waves(seed, batch)
        ours += ended(model, general(model))
        for rate in theirs:
            model = Waves(seed, batch)
            theirs[rate] += ended(model, torch.optim.AdamW(model.parameters(), rate), decays=True)
    assert ours < min(theirs.values())


@pytest.mark.parametrize("batch", [16, None])
def test_the_unit_of_the_loss_does_not_matter(batch: int | None, double: None) -> None:
    def at(factor: float) -> Tensor:
        model = Waves(0, batch, factor)
        optimizer = general(model)
        for _ in range(12):
            optimizer.step(model.closure)
        return torch.cat([param.detach().flatten() for param in model.parameters()])

    torch.testing.assert_close(at(1e4), at(1.0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(at(1e-4), at(1.0), rtol=1e-4, atol=1e-6)


def test_it_ends_where_it_was_told_to() -> None:
    model = Waves(0, 16)
    optimizer = LearnedOptimizer.from_pretrained(model.parameters(), total_steps=7)
    while not optimizer.should_stop():
        optimizer.step(model.closure)
    assert optimizer.num_steps == 7


def test_its_last_steps_are_short() -> None:
    model = Waves(0, 16)
    optimizer, lengths = general(model), []
    for _ in range(STEPS):
        before = torch.cat([param.detach().flatten() for param in model.parameters()])
        optimizer.step(model.closure)
        after = torch.cat([param.detach().flatten() for param in model.parameters()])
        lengths.append(float((after - before).norm()))
    assert max(lengths[-3:]) < 0.25 * max(lengths)
