"""A loop that says how many steps it has."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from probact import LearnedOptimizer
from probact.drop_in.horizon import Horizon
from probact.rules.base import RULES


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


X = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
Y = X[:, :1].sin()


def steps(optimizer: torch.optim.Optimizer, net: nn.Module, num: int) -> Iterator[list[Tensor]]:
    """The parameters after each."""
    for _ in range(num):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(X), Y)
        loss.backward()
        optimizer.step(loss=loss)  # type: ignore[call-arg]
        yield [param.detach().clone() for param in net.parameters()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(map(torch.equal, one, other))


@pytest.mark.parametrize("name", ["adam", "nag"])
def test_a_rule_that_knows_no_horizon_makes_shorter_steps_as_by_a_schedule(name: str) -> None:
    told, by_hand = model(), model()
    one = LearnedOptimizer(told.parameters(), RULES.build(name), total_steps=10, safeguard=False)
    other = LearnedOptimizer(by_hand.parameters(), RULES.build(name), safeguard=False)
    schedule = torch.optim.lr_scheduler.LambdaLR(other, lambda step: 1 - step / 10)
    for a, b in zip(steps(one, told, 10), steps(other, by_hand, 10), strict=True):
        for p, q in zip(a, b, strict=True):
            torch.testing.assert_close(p, q)
        schedule.step()


@pytest.mark.parametrize("name", ["subspace-mlp", "subspace-general"])
def test_shipped_ones_settle(name: str) -> None:
    """The last step is far shorter than without; all that is left alone is what was asked for."""
    last = []
    for total in (None, 60):
        net = model()
        optimizer = LearnedOptimizer.from_pretrained(net.parameters(), name, stop=None, total_steps=total)
        *_, before, after = steps(optimizer, net, 60)
        last.append(sum(float((p - q).norm()) for p, q in zip(before, after, strict=True)))
    assert 0 < last[1] < 0.3 * last[0]


def test_a_rule_that_plans_is_told() -> None:
    net = model()
    optimizer = LearnedOptimizer(net.parameters(), RULES.build("tensorwise"), total_steps=5)
    list(steps(optimizer, net, 3))
    plan = optimizer._standing.cohorts[0].carry.state.state.state.plan
    assert plan.left.tolist() == [3]
    assert plan.total.tolist() == [5]


@pytest.mark.parametrize("name", ["adam", "tensorwise"])
def test_weight_decay_anneals_with_the_step(name: str) -> None:
    net = model()
    groups = [{"params": list(net.parameters()), "weight_decay": 0.1}]
    optimizer = LearnedOptimizer(groups, RULES.build(name), total_steps=4, safeguard=False)
    paths = list(steps(optimizer, net, 4))
    moved = [sum(float((p - q).norm()) for p, q in zip(a, b, strict=True)) for a, b in itertools.pairwise(paths)]
    assert moved[-1] < 0.7 * moved[0]


def test_beyond_the_last_step_it_goes_on_and_says_so() -> None:
    net = model()
    optimizer = LearnedOptimizer(net.parameters(), RULES.build("adam"), total_steps=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        *_, before = steps(optimizer, net, 3)
    with pytest.warns(
        UserWarning, match="all 3 steps of total_steps or finish are made, and steps as short go on"
    ) as said:
        *_, after = steps(optimizer, net, 4)
    assert len(said) == 1
    assert not same(before, after)


def test_finish_anneals_from_where_it_stands() -> None:
    late = Horizon.ending(None, 10, made=100)
    assert [late.factor(100 + step) for step in range(10)] == pytest.approx([1 - step / 10 for step in range(10)])
    sooner = Horizon.ending(Horizon.of(100), 10, made=40)
    assert [sooner.factor(40 + step) for step in (0, 5, 9)] == pytest.approx([0.6, 0.3, 0.06])
    plan = sooner.plan(45, torch.zeros(1))
    assert plan.left.tolist() == [5]
    assert plan.factor.tolist() == pytest.approx([0.3])


def test_finish_in_a_loop() -> None:
    net = model()
    optimizer = LearnedOptimizer(net.parameters(), RULES.build("adam"))
    list(steps(optimizer, net, 20))
    optimizer.finish(10)
    paths = list(steps(optimizer, net, 10))
    moved = [float((a[0] - b[0]).norm()) for a, b in itertools.pairwise(paths)]
    assert moved[-1] < 0.4 * moved[0]


@pytest.mark.parametrize("name", ["adam", "tensorwise"])
@pytest.mark.parametrize("way", ["told", "finish"])
def test_it_goes_on_bit_for_bit(name: str, way: str) -> None:
    first, second = model(), model()
    torch.manual_seed(0)
    one = LearnedOptimizer(first.parameters(), RULES.build(name), total_steps=12 if way == "told" else None)
    list(steps(one, first, 4))
    if way == "finish":
        one.finish(8)
        list(steps(one, first, 1))
    second.load_state_dict(first.state_dict())
    torch.manual_seed(0)
    other = LearnedOptimizer(second.parameters(), RULES.build(name), total_steps=12 if way == "told" else None)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    *_, a = steps(one, first, 5)
    *_, b = steps(other, second, 5)
    assert same(a, b)


def test_a_run_can_be_given_more_steps() -> None:
    net = model()
    optimizer = LearnedOptimizer(net.parameters(), RULES.build("adam"), total_steps=5)
    list(steps(optimizer, net, 4))
    longer = LearnedOptimizer(net.parameters(), RULES.build("adam"), total_steps=50)
    longer.load_state_dict(optimizer.state_dict())
    assert longer._standing.horizon == Horizon.of(50)
    untold = LearnedOptimizer(net.parameters(), RULES.build("adam"))
    untold.load_state_dict(optimizer.state_dict())
    assert untold._standing.horizon == Horizon.of(5)


@pytest.mark.parametrize("wrong", [0, -3, 2.5, "many", True])
def test_what_is_no_number_of_steps_is_refused(wrong: Any) -> None:
    net = model()
    with pytest.raises(ValueError, match="total_steps: expected a whole number >= 1, got"):
        LearnedOptimizer(net.parameters(), RULES.build("adam"), total_steps=wrong)
    optimizer = LearnedOptimizer(net.parameters(), RULES.build("adam"))
    with pytest.raises(ValueError, match="finish: expected a whole number >= 1, got"):
        optimizer.finish(wrong)


def ended_at(optimizer: LearnedOptimizer, net: nn.Module, most: int = 400) -> int:
    for _ in range(most):
        if optimizer.should_stop():
            break
        list(steps(optimizer, net, 1))
    return optimizer.num_steps


@pytest.mark.parametrize("total", [3, 150])
def test_a_loop_that_asks_when_to_stop_ends_at_the_last_step(total: int) -> None:
    """The default stop of a file is where the plan ends, not earlier, without a warning."""
    net = model()
    optimizer = LearnedOptimizer.from_pretrained(net.parameters(), "subspace-mlp", total_steps=total)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ended_at(optimizer, net) == total


def test_the_default_stop_moves_with_finish_and_any_other_stays() -> None:
    for stop, end in ({}, 12), ({"stop": "budget=6"}, 6), ({"stop": None}, 30):
        net = model()
        optimizer = LearnedOptimizer.from_pretrained(net.parameters(), "subspace-mlp", **stop)  # type: ignore[arg-type]
        list(steps(optimizer, net, 2))
        optimizer.finish(10)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*all 12 steps")
            assert ended_at(optimizer, net, 28) == end


def test_a_resumed_run_stops_where_it_was_to_finish() -> None:
    net = model()
    optimizer = LearnedOptimizer.from_pretrained(net.parameters(), "subspace-mlp")
    list(steps(optimizer, net, 2))
    optimizer.finish(5)
    other = LearnedOptimizer.from_pretrained(net.parameters(), "subspace-mlp")
    other.load_state_dict(optimizer.state_dict())
    assert ended_at(other, net) == 7


def test_finish_when_all_is_over_begins_with_a_whole_step() -> None:
    over = Horizon.ending(Horizon.of(20), 10, made=20)
    assert [over.factor(20), over.factor(25)] == pytest.approx([1, 0.5])
    again = Horizon.ending(over, 10, made=40)
    assert again.factor(40) == 1


def test_more_steps_count_after_finish_too() -> None:
    net = model()
    optimizer = LearnedOptimizer(net.parameters(), RULES.build("adam"), total_steps=100)
    list(steps(optimizer, net, 2))
    optimizer.finish(10)
    for asked, end in ((100, 12), (500, 500), (None, 12)):
        other = LearnedOptimizer(net.parameters(), RULES.build("adam"), total_steps=asked)
        other.load_state_dict(optimizer.state_dict())
        assert other._standing.horizon is not None
        assert other._standing.horizon.end == end


def test_whole_numbers_of_any_type() -> None:
    assert Horizon.of(np.int64(10)) == Horizon.of(10)
    with pytest.raises(ValueError, match="total_steps: expected a whole number below"):
        Horizon.of(10**400)
