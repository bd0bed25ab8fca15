"""What a step works in is never out of date: a state that is loaded elsewhere goes on as it did."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from probact import LearnedOptimizer

STEPS = 48


class Loop:
    """A linear model with a small matrix, of 15 numbers, on minibatches under ``general``."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(1)
        draw = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(5, 3, generator=draw))
        self.x = torch.randn(512, 3, generator=draw)
        self.y = self.x @ torch.randn(3, 5, generator=draw) + torch.randn(512, 5, generator=draw)
        self.optimizer = LearnedOptimizer.from_pretrained([self.weight], total_steps=STEPS, stop=None)

    def step(self, of_loss: float = 1.0, of_gradient: float = 1.0) -> Tensor:
        rows = torch.randint(512, (16,), generator=self.generator)
        self.optimizer.zero_grad()
        loss = of_loss * (self.x[rows] @ self.weight.T - self.y[rows]).square().mean()
        (of_gradient * loss).backward()
        self.optimizer.step(loss=loss.detach())
        return self.weight.detach().clone()

    def copied(self) -> Loop:
        """Another loop where this one stands, whose optimizer has loaded what this one's saved."""
        other = Loop()
        with torch.no_grad():
            other.weight.copy_(self.weight)
        other.generator.set_state(self.generator.get_state())
        other.optimizer.load_state_dict(copy.deepcopy(self.optimizer.state_dict()))
        return other


def smaller_from_30(step: int) -> tuple[float, float]:
    return (1.0 if step < 30 else 1e-9), 1.0


def one_huge_gradient(step: int) -> tuple[float, float]:
    return 1.0, (1e25 if step == 8 else 1.0)


@pytest.mark.parametrize(("factors", "first"), [(smaller_from_30, 31), (one_huge_gradient, 9)])
def test_a_loaded_state_goes_on_bit_for_bit(factors: Callable[[int], tuple[float, float]], first: int) -> None:
    """From each step on, as some of what is worked in is made anew at looks alone."""
    loop = Loop()
    for step in range(STEPS):
        other = loop.copied() if step >= first else None
        after = loop.step(*factors(step))
        if other is not None:
            assert torch.equal(after, other.step(*factors(step))), step


@pytest.mark.parametrize("shape", [(9000,), (120, 90)])
@pytest.mark.parametrize("stride", [0, 2])
def test_gradients_need_not_be_contiguous(shape: tuple[int, ...], stride: int) -> None:
    paths = []
    for is_strided in (False, True):
        generator = torch.Generator().manual_seed(0)
        weight = nn.Parameter(torch.randn(*shape, generator=generator))
        optimizer = LearnedOptimizer.from_pretrained([weight], total_steps=24, stop=None)
        path = []
        for _ in range(24):
            number = float(torch.randn((), generator=generator))
            target = torch.randn(*shape, generator=generator) if stride else torch.full(shape, number)
            error = weight.detach() - target if stride else (weight.detach().mean() - target)
            grad = 2 * error / error.numel()
            if is_strided:
                between = torch.stack([grad, torch.full(shape, 1e3)], -1)[..., 0]
                grad = between if stride else grad.reshape(-1)[0].expand(shape)
            weight.grad = grad
            optimizer.step(loss=error.square().mean())
            path.append(weight.detach().clone())
        paths.append(torch.stack(path))
    assert torch.equal(*paths)
