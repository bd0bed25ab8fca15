"""Every tensor that a model has is optimized, left alone, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from probact import LearnedOptimizer
from probact.rules.base import RULES
from tests.helpers.loops import Regression, descend

WORN = ["subspace-regression", "lstm-regression"]


def pretrained(params: list[nn.Parameter], name: str = "subspace-regression") -> LearnedOptimizer:
    return LearnedOptimizer.from_pretrained(params, name, stop=None)


def near_one(*params: Tensor) -> Callable[[], Tensor]:
    return lambda: torch.stack([(param - 1).abs().square().sum().to(torch.float64) for param in params]).sum()


@pytest.mark.parametrize("name", WORN)
@pytest.mark.parametrize(
    "param",
    [
        torch.tensor(3.0),
        torch.zeros(3, dtype=torch.complex64),
        torch.zeros(2, 2, dtype=torch.complex128),
        torch.tensor(1 + 3j),
        torch.zeros(4, dtype=torch.float16),
        torch.zeros(4, 3, dtype=torch.bfloat16),
        torch.zeros(4, dtype=torch.float64),
        torch.zeros(4, 3).T,
        torch.zeros(6, 4)[::2],
        torch.zeros(2, 3, 2, 2),
    ],
    ids=lambda param: f"{param.dtype}-{tuple(param.shape)}-{param.is_contiguous()}",
)
def test_each_alone(param: Tensor, name: str) -> None:
    given = nn.Parameter(param.clone(memory_format=torch.preserve_format))
    losses = descend(pretrained([given], name), near_one(given), 30)
    assert losses[-1] < (0.05 if name == "subspace-regression" else 0.5) * losses[0]
    assert given.dtype == param.dtype
    assert given.stride() == param.clone(memory_format=torch.preserve_format).stride()


@pytest.mark.parametrize("name", WORN)
def test_all_together(name: str) -> None:
    """Several types in one, an empty one among them: worked out in double precision, left in their own."""
    types = (torch.float32, torch.float64, torch.float16, torch.complex64)
    params = [nn.Parameter(torch.zeros(3, dtype=dtype)) for dtype in types]
    empty, whole = nn.Parameter(torch.zeros(0, 4)), nn.Parameter(torch.arange(3), requires_grad=False)
    optimizer = pretrained([empty, whole, *params], name)
    losses = descend(optimizer, near_one(*params, empty), 60)
    assert losses[-1] < 0.5 * losses[0]
    assert [param.dtype for param in params] == list(types)
    assert next(optimizer.rule.parameters()).dtype == torch.float64
    assert whole.tolist() == [0, 1, 2]


def test_complex_is_two_real_ones() -> None:
    real, whole = nn.Parameter(torch.zeros(3, 2)), nn.Parameter(torch.zeros(3, dtype=torch.complex64))
    goal = torch.tensor([1 + 1j, 2, -1j])
    descend(pretrained([real]), lambda: (real - torch.view_as_real(goal)).square().sum(), 5)
    descend(pretrained([whole]), lambda: (whole - goal).abs().square().sum(), 5)
    torch.testing.assert_close(torch.view_as_real(whole).detach(), real.detach())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_worked_out_in_single(dtype: torch.dtype) -> None:
    """Gradients whose squares have no place in half precision."""
    weight = nn.Parameter(torch.full((4,), 2.0, dtype=dtype))
    optimizer = LearnedOptimizer([weight], RULES["adam"](lr=0.1))
    descend(optimizer, lambda: (weight.float() * 1e-3).square().sum(), 5)
    torch.testing.assert_close(weight.detach().float(), torch.full((4,), 1.5), rtol=0, atol=0.02)


@pytest.mark.parametrize("change", [lambda model: model.double(), lambda model: model.to(torch.bfloat16)])
@pytest.mark.parametrize("after", [0, 4])
def test_cast_after_it_was_made(change: Callable[[nn.Module], nn.Module], after: int) -> None:
    loop, single = Regression(), Regression()
    loop.run(after), single.run(after)
    change(loop.model)
    expected = single.run(4)
    assert loop.run(4)[-1] == pytest.approx(expected[-1], rel=0.05)


@pytest.mark.parametrize("layout", [nn.Embedding(20, 4, sparse=True), nn.EmbeddingBag(20, 4, sparse=True, mode="sum")])
def test_sparse_gradients_are_refused(layout: nn.Module) -> None:
    optimizer = pretrained(list(layout.parameters()))
    words = torch.arange(10).reshape(1, -1)
    with pytest.raises(ValueError, match=r"parameter 0: expected a dense gradient \(.*\), got torch.sparse_coo"):
        descend(optimizer, lambda: layout(words).square().sum(), 1)
    assert optimizer.num_steps == 0


def test_tied_parameters_count_once() -> None:
    weight, plain = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(4))
    descend(pretrained([weight, weight]), near_one(weight), 5)
    descend(pretrained([plain]), near_one(plain), 5)
    assert torch.equal(weight, plain)


@pytest.mark.parametrize("rule", ["adam", "momentum", "nag"])
def test_late_ones_begin_then_and_the_others_go_on(rule: str) -> None:
    """Unfrozen or added: each then walks as it would alone."""
    early, unfrozen, added = (nn.Parameter(torch.full((3,), value)) for value in (0.0, 2.0, 5.0))
    unfrozen.requires_grad_(False)
    optimizer = LearnedOptimizer([early, unfrozen], RULES[rule](), safeguard=False)
    descend(optimizer, near_one(early), 4)
    unfrozen.requires_grad_(True)
    descend(optimizer, near_one(early, unfrozen), 3)
    optimizer.add_param_group({"params": added})
    descend(optimizer, near_one(early, unfrozen, added), 5)
    for found, start, num_steps in ((early, 0.0, 12), (unfrozen, 2.0, 8), (added, 5.0, 5)):
        alone = nn.Parameter(torch.full((3,), start))
        descend(LearnedOptimizer([alone], RULES[rule](), safeguard=False), near_one(alone), num_steps)
        torch.testing.assert_close(found, alone)


@pytest.mark.parametrize("name", ["subspace-mlp", "lstm-general"])
def test_late_ones_under_a_learned_rule(name: str) -> None:
    early, late = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2))
    optimizer = pretrained([early], name)
    descend(optimizer, near_one(early), 4)
    optimizer.add_param_group({"params": [late]})
    descend(optimizer, near_one(early, late), 6)
    assert late.abs().min() > 0
    assert optimizer.hazard is not None
    kept = late.detach().clone()
    descend(optimizer, near_one(early), 3)
    assert torch.equal(late, kept)
    assert optimizer.num_steps == 13


@pytest.mark.parametrize("name", ["lstm-general", "lstm-regression", "subspace-mlp"])
def test_what_never_has_a_gradient_stays(name: str) -> None:
    """The padding row of an embedding, masked weights, the weights of a dead unit."""
    table, masked = nn.Embedding(6, 4, padding_idx=0), nn.Parameter(torch.ones(2, 4))
    mask = torch.tensor([[1.0], [0.0]])
    words = torch.randint(0, 6, (32, 3))
    optimizer = pretrained([*table.parameters(), masked], name)
    descend(optimizer, lambda: (table(words).mean(1) - (mask * masked).sum(0)).square().sum(), 8)
    assert table.weight[0].abs().max() == 0
    assert masked[1].tolist() == [1, 1, 1, 1]
    assert (masked[0] != 1).all()


def test_autocast_around_the_loop_and_the_random_state() -> None:
    inside, outside = Regression(), Regression()
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    pretrained([nn.Parameter(torch.zeros(2))])
    inside.run(0)
    assert torch.equal(torch.randn(3), expected)
    for _ in range(6):
        outside.run(1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside.optimizer.zero_grad()
            with torch.autocast("cpu", enabled=False):
                loss = inside.loss()
                loss.backward()
            inside.optimizer.step(loss=loss)
    assert torch.equal(inside.model.weight, outside.model.weight)


@pytest.mark.parametrize("shift", [100.0, -1000.0])
def test_where_the_loss_has_its_zero_is_nothing_to_adam(shift: float) -> None:
    here, there = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(4))
    for param, add in ((here, 0.0), (there, shift)):
        descend(LearnedOptimizer([param], RULES["adam"]()), lambda param=param, add=add: near_one(param)() + add, 30)
    torch.testing.assert_close(here, there)
