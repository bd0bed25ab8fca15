"""Kinds of problems that are hard in a way of their own: that they are."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from probact.problems.assorted import KINDS, Assorted
from probact.problems.base import value_and_grad
from probact.problems.draws import Draw
from probact.problems.further_kinds import FURTHER, deep, few_rows, rare_words, ratings, sums, wide
from probact.problems.network import Data, Network, NetworkFamily

SEEDS = range(6)


def drawn(kind: Callable[[Draw], NetworkFamily], seed: int) -> NetworkFamily:
    return kind(Draw(torch.Generator().manual_seed(seed)))


def rows(family: NetworkFamily) -> tuple[Data, Data]:
    assert family.train is not None
    assert family.held_out is not None
    return family.train, family.held_out


def sizes(family: NetworkFamily) -> list[torch.Size]:
    """Of its matrices."""
    return [param.shape for param in family.make().parameters() if param.dim() == 2]


def test_they_are_among_the_kinds_after_those_before() -> None:
    """So ``kinds=`` with the first eight draws what it drew when there were no others."""
    names = [kind.__name__ for kind in FURTHER]
    assert list(KINDS)[8:] == names
    assert list(KINDS)[:3] == ["regression", "classification", "linear"]


@pytest.mark.parametrize("seed", SEEDS)
def test_few_rows_are_few_and_others_than_those_held_out(seed: int) -> None:
    family = drawn(few_rows, seed)
    (x, y), (held_out, _) = rows(family)
    assert len(x) == len(y) <= 400
    assert family.batch_size <= len(x)
    assert len(held_out) >= 150
    apart = (x.flatten(1)[:, None] - held_out.flatten(1)[None]).abs().sum(-1)
    assert float(apart.min()) > 0


def test_few_rows_are_learned_by_heart() -> None:
    """After some steps of Adam the loss on the rows goes on falling, where that on others has risen."""
    problems = Assorted(("few_rows",)).sample(2, torch.Generator().manual_seed(1))
    assert isinstance(problems, Network)
    params = {name: tensor.clone().requires_grad_() for name, tensor in problems.theta0.items()}
    optimizer = torch.optim.Adam(params.values(), lr=3e-3)
    lowest, means = torch.full((2,), torch.inf), []
    for step in range(400):
        loss, grads = value_and_grad(lambda theta, step=step: problems.loss(theta, step), params)
        means.append(loss)
        for name, tensor in params.items():
            tensor.grad = grads[name]
        optimizer.step()
        lowest = torch.minimum(lowest, problems.nll(params).detach())
    table = torch.stack(means)
    assert bool((table[-50:].mean(0) < table[50:100].mean(0)).all())
    assert bool((problems.nll(params) > 1.02 * lowest).all())


@pytest.mark.parametrize("seed", SEEDS)
def test_most_words_are_rare(seed: int) -> None:
    (x, _), _ = rows(family := drawn(rare_words, seed))
    words = max(shape[0] for shape in sizes(family))
    seen = x.flatten().bincount(minlength=words)
    assert float((seen < seen.float().mean()).float().mean()) > 0.6
    assert int(seen.max()) > 20 * int(seen.median())


@pytest.mark.parametrize("seed", SEEDS)
def test_sums_are_of_the_numbers_marked(seed: int) -> None:
    (x, y), _ = rows(drawn(sums, seed))
    values, marks = x.unbind(-1)
    assert bool((marks.sum(1) == 2).all())
    if y.is_floating_point():
        torch.testing.assert_close((values * marks).sum(1, keepdim=True), y)
    else:
        first, second = marks.argmax(1), marks.shape[1] - 1 - marks.flip(1).argmax(1)
        larger: Tensor = values.gather(1, first[:, None]) < values.gather(1, second[:, None])
        assert torch.equal(larger[:, 0].long(), y)


@pytest.mark.parametrize("seed", SEEDS)
def test_networks_are_wide_and_deep(seed: int) -> None:
    assert max(max(shape) for shape in sizes(drawn(wide, seed))) >= 128
    narrow = sizes(drawn(deep, seed))
    assert len(narrow) >= 5
    assert max(max(shape) for shape in narrow) <= 48


def test_some_rows_of_a_table_are_seen_more_often() -> None:
    shares = []
    for seed in SEEDS:
        seen = rows(drawn(ratings, seed))[0][0][:, 0].bincount().sort(descending=True).values.float()
        shares.append(float(seen[: len(seen) // 10].sum() / seen.sum()))
    assert min(shares) < 0.2 < 0.35 < max(shares)
