"""Running means in bfloat16: nothing is lost that adds up, and optimizations end where those of single precision do."""

from __future__ import annotations

import copy

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from probact import LearnedOptimizer
from probact.rules.base import RULES
from probact.rules.tensorwise.memory import SLOW, SQUARE, TensorwiseMemory
from probact.rules.tensorwise.short import lengthened, shortened
from probact.support.trees import leaves
from tests.helpers.loops import minibatches


def test_means_do_not_stall() -> None:
    """Plain rounding leaves them as soon as a step is less than half a digit."""
    grads = [0.5 + torch.rand(1, 100, generator=torch.Generator().manual_seed(0))]
    memory, plain = shortened(TensorwiseMemory.init(grads)), torch.zeros(1, 100).bfloat16()
    for _ in range(600):
        memory = shortened(lengthened(memory, grads[0]).with_gradients(grads))
        plain = plain.float().lerp(grads[0].square(), 1 - SQUARE).bfloat16()
    assert memory.square[0].dtype is torch.bfloat16
    for part, end in ((memory.slow[0], grads[0]), (memory.square[0], grads[0].square())):
        assert float((part.float() / end - 1).abs().max()) < 0.02
        assert float((part.float() / end).mean()) == pytest.approx(1, abs=0.004)
    assert float((plain.float() / grads[0].square()).mean()) < 0.85


def test_numbers_of_both_signs_are_kept_on_average() -> None:
    values = torch.tensor([[1.001, -1.001, 3e-5, -7.77, 0.0]])
    memory, total = TensorwiseMemory.init([values]), torch.zeros_like(values)
    for step in range(1000):
        short = shortened(memory._replace(slow=(values,), num_seen=torch.full((1,), float(step))))
        total += short.slow[0].float() / 1000
    torch.testing.assert_close(total, values, rtol=1e-4, atol=0)
    assert SLOW < 1


def trained(seed: int, memory_dtype: torch.dtype | None, steps: int = 200) -> tuple[float, LearnedOptimizer]:
    """Cross-entropy of a small network on digits that it has not seen."""
    inputs, targets = load_digits(return_X_y=True)
    x, y = torch.tensor(inputs, dtype=torch.float32) / 16, torch.tensor(targets)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = LearnedOptimizer.from_pretrained(
        model.parameters(), stop=None, total_steps=steps, memory_dtype=memory_dtype
    )
    for _ in range(steps):
        rows = torch.randint(1200, (32,))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step(loss)
    with torch.no_grad():
        return float(nn.functional.cross_entropy(model(x[1200:]), y[1200:])), optimizer


def size(optimizer: LearnedOptimizer) -> int:
    return sum(part.numel() * part.element_size() for part in leaves(optimizer._standing.cohorts[0].carry))


def test_an_optimization_ends_where_that_of_single_precision_does() -> None:
    single, short = ([trained(seed, memory_dtype) for seed in range(3)] for memory_dtype in (None, torch.bfloat16))
    losses = [sum(loss for loss, _ in each) / 3 for each in (single, short)]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    parameters = 64 * 32 + 32 + 32 * 10 + 10
    assert size(single[0][1]) - size(short[0][1]) == 3 * 2 * parameters


@pytest.mark.parametrize("cut", [2, 18])
def test_what_is_saved_goes_on_bit_for_bit(cut: int) -> None:
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    options = {"stop": None, "memory_dtype": torch.bfloat16}
    optimizer = LearnedOptimizer.from_pretrained(model.parameters(), **options)
    minibatches(optimizer, model, range(cut))
    other = copy.deepcopy(model)
    again = LearnedOptimizer.from_pretrained(other.parameters(), **options)
    again.load_state_dict(optimizer.state_dict())
    minibatches(optimizer, model, range(cut, cut + 6))
    minibatches(again, other, range(cut, cut + 6))
    assert all(map(torch.equal, model.parameters(), other.parameters()))
    kept: list[Tensor] = leaves(again._standing.cohorts[0].carry)
    assert any(part.dtype is torch.bfloat16 for part in kept)


@pytest.mark.parametrize(
    ("name", "memory_dtype", "said"),
    [("adam", torch.bfloat16, "got rule 'adam'"), ("tensorwise", torch.half, "float16")],
)
def test_what_cannot_be_kept_so_is_refused(name: str, memory_dtype: torch.dtype, said: str) -> None:
    with pytest.raises(ValueError, match=f"memory_dtype: expected .*{said}"):
        LearnedOptimizer(nn.Linear(2, 1).parameters(), RULES.build(name), memory_dtype=memory_dtype)
