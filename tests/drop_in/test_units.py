"""The shipped default does not depend on the units of a loss, as long as single precision has numbers for it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from probact import LearnedOptimizer
from probact.rules.base import RULES
from probact.rules.safeguarded import Safeguarded
from probact.rules.tensorwise.memory import TensorwiseMemory

STEPS = 24
Factor = Callable[[int], float]


class Loop:
    """A small network on a wave under ``general``; ``batch`` rows a step or all; its loss is ``factor(step)`` times
    what it is.
    """

    def __init__(self, batch: int | None, factor: Factor, dtype: torch.dtype = torch.float32) -> None:
        torch.manual_seed(0)
        act = nn.Tanh
        self.network = nn.Sequential(nn.Linear(6, 24), act(), nn.Linear(24, 24), act(), nn.Linear(24, 1)).to(dtype)
        self.generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(300, 6, generator=self.generator).to(dtype)
        self.y = torch.sin(self.x.sum(1, keepdim=True))
        self.batch, self.factor, self.made = batch, factor, 0
        self.optimizer = LearnedOptimizer.from_pretrained(self.network.parameters(), total_steps=STEPS, stop=None)

    def run(self, steps: int = STEPS) -> Tensor:
        """The path, ``(steps, d)``."""
        path = []
        for _ in range(steps):
            rows = slice(None) if self.batch is None else torch.randint(300, (self.batch,), generator=self.generator)
            self.optimizer.zero_grad()
            loss = self.factor(self.made) * (self.network(self.x[rows]) - self.y[rows]).square().mean()
            loss.backward()
            self.optimizer.step(loss=loss)
            path.append(torch.cat([param.detach().flatten() for param in self.network.parameters()]))
            self.made += 1
        return torch.stack(path)

    @property
    def memory(self) -> TensorwiseMemory:
        memory: TensorwiseMemory = self.optimizer._standing.cohorts[0].carry.state.state.state.noisy
        return memory


@cache
def path(batch: int | None, factor: float, dtype: torch.dtype = torch.float32) -> Tensor:
    return Loop(batch, lambda _: factor, dtype).run()


@pytest.mark.parametrize("power", [-80, -30, 15, 60])
@pytest.mark.parametrize("batch", [16, None])
def test_a_power_of_two_on_the_loss_changes_nothing(batch: int | None, power: int) -> None:
    torch.testing.assert_close(path(batch, 2.0**power), path(batch, 1.0), rtol=0, atol=1e-3)


@pytest.mark.parametrize("factor", [1e-15, 1e-9])
@pytest.mark.parametrize("batch", [16, None])
def test_nor_does_another_factor_beyond_its_rounding(batch: int | None, factor: float) -> None:
    torch.testing.assert_close(path(batch, factor), path(batch, 1.0), rtol=0, atol=3e-3)


@pytest.mark.parametrize("batch", [16, None])
def test_nor_of_parameters_in_half_precision(batch: int | None) -> None:
    torch.testing.assert_close(path(batch, 2.0**-60, torch.bfloat16), path(batch, 1.0, torch.bfloat16), rtol=0, atol=0)


@pytest.mark.parametrize("change", [-4, 4])
def test_a_scale_that_drifts_far_is_followed(change: int) -> None:
    """By the same factor each step, from 1 and from 2^30 or 2^-30 on: the unit is chosen anew at other steps."""
    loops = [Loop(16, lambda step, k=k: 2.0 ** (k + change * step)) for k in (0, -30 * change // 4)]
    paths = [loop.run() for loop in loops]
    torch.testing.assert_close(paths[1], paths[0], rtol=0, atol=1e-3)
    assert all(abs(torch.log2(loop.memory.unit.abs())) > 30 for loop in loops)


def test_it_goes_on_bit_for_bit_in_a_unit_of_its_own() -> None:
    loops = [Loop(16, lambda _: 1e-15), Loop(16, lambda _: 1e-15)]
    loops[0].run(10)
    loops[1].network.load_state_dict(loops[0].network.state_dict())
    loops[1].generator.set_state(loops[0].generator.get_state())
    loops[1].optimizer.load_state_dict(copy.deepcopy(loops[0].optimizer.state_dict()))
    a, b = (loop.run(10) for loop in loops)
    assert torch.equal(a, b)
    assert float(loops[1].memory.unit) < 1e-12


def test_usual_gradients_stay_as_they_are() -> None:
    loop = Loop(16, lambda _: 1.0)
    loop.run(3)
    assert float(loop.memory.unit) == 1


def test_the_safeguard_sees_turns_of_a_tiny_loss() -> None:
    """A rise and a fall whose product is no number of single precision."""

    def noise(unit: float) -> Tensor:
        rule, params = Safeguarded(RULES.build("sgd")), {"theta": torch.ones(1, 2)}
        state = rule.init(params)
        for loss in (1.0, 1.2, 0.9, 1.1):
            grads = {"theta": torch.zeros(1, 2)}
            state = rule.step(grads, state, params, torch.full((1,), unit * loss)).state
        made: Tensor = state.noise
        return made / unit

    torch.testing.assert_close(noise(2.0**-80), noise(1.0), rtol=1e-5, atol=0)
