"""Whatever is done to the drop-in in whatever order, under ``adam`` and ``sgd`` it is torch.optim's optimizer."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from torch import Tensor, nn

from probact import LearnedOptimizer
from probact.rules.base import RULES

RATE = 0.1
SHAPES = [(), (3,), (2, 2), (0, 2), (1,)]
KINDS: dict[str, Any] = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


class Mine:
    """Parameters under the drop-in."""

    def __init__(self, kind: str, params: list[nn.Parameter]) -> None:
        self.params = params
        self.optimizer = LearnedOptimizer(params, RULES[kind](lr=RATE), safeguard=False)


class Plain:
    """The same under ``torch.optim``, and which began with which: where one of them has a gradient, all have."""

    def __init__(self, kind: str, params: list[nn.Parameter]) -> None:
        self.params = params
        self.optimizer = KINDS[kind](params, lr=RATE)
        self.began: dict[int, int] = {}
        self.num_steps = 0

    def step(self) -> None:
        moving = [place for place, param in enumerate(self.params) if param.grad is not None]
        for place in moving:
            self.began.setdefault(place, self.num_steps)
        beginnings = {self.began[place] for place in moving if self.params[place].numel()}
        still = [
            place for place, began in self.began.items() if began in beginnings and self.params[place].grad is None
        ]
        kept = {place: self.params[place].detach().clone() for place in still}
        for place in still:
            self.params[place].grad = torch.zeros_like(self.params[place])
        self.optimizer.step()
        with torch.no_grad():
            for place, value in kept.items():
                self.params[place].copy_(value)
        self.num_steps += 1


class DropIn(RuleBasedStateMachine):
    """Both are told the same."""

    @initialize(kind=st.sampled_from(sorted(KINDS)), shapes=st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3))
    def make(self, kind: str, shapes: list[tuple[int, ...]]) -> None:
        self.kind, self.dtype = kind, torch.float32
        first = [(3,), *shapes]  # never without a coordinate
        self.mine, self.plain = Mine(kind, self.new(first)), Plain(kind, self.new(first))

    def new(self, shapes: list[tuple[int, ...]]) -> list[nn.Parameter]:
        return [nn.Parameter(torch.full(shape, 0.5, dtype=self.dtype)) for shape in shapes]

    def both(self) -> tuple[Mine, Plain]:
        return self.mine, self.plain

    def moving(self) -> bool:
        return any(param.requires_grad and param.numel() for param in self.mine.params)

    @staticmethod
    def loss(params: list[nn.Parameter], pull: float) -> Tensor:
        return torch.stack([((param - place - pull) ** 2).sum() for place, param in enumerate(params)]).sum()

    def backward(self, one: Mine | Plain, pull: float) -> Tensor:
        one.optimizer.zero_grad()
        loss = self.loss(one.params, pull)
        loss.backward()
        return loss

    @precondition(moving)
    @rule(pull=st.sampled_from([0.25, 2.0, -3.0]), form=st.sampled_from(["closure", "dict", "loss", "number"]))
    def step(self, pull: float, form: str) -> None:
        self.backward(self.plain, pull)
        self.plain.step()
        optimizer = self.mine.optimizer
        if form == "closure":
            optimizer.step(lambda: self.backward(self.mine, pull))
        elif form == "dict":
            optimizer.step(lambda: {"loss": self.backward(self.mine, pull)})
        elif form == "loss":
            optimizer.step(loss=self.backward(self.mine, pull))
        else:
            optimizer.step(self.backward(self.mine, pull).item())

    @precondition(moving)
    @rule(bad=st.sampled_from([float("nan"), float("inf")]))
    def meet_a_bad_batch(self, bad: float) -> None:
        self.mine.optimizer.zero_grad()
        (bad * self.loss(self.mine.params, 0.0)).backward()
        self.mine.optimizer.step(loss=bad)

    @rule(data=st.data(), requires_grad=st.booleans())
    def freeze_or_unfreeze(self, data: st.DataObject, requires_grad: bool) -> None:
        place = data.draw(st.integers(0, len(self.mine.params) - 1))
        for one in self.both():
            one.params[place].requires_grad_(requires_grad)

    @precondition(lambda self: len(self.mine.params) < 7)
    @rule(shape=st.sampled_from(SHAPES), factor=st.sampled_from([0.5, 1.0]))
    def add_a_group(self, shape: tuple[int, ...], factor: float) -> None:
        for one, lr in zip(self.both(), (factor, RATE * factor), strict=True):
            late = self.new([shape])
            one.optimizer.add_param_group({"params": late, "lr": lr})
            one.params += late

    @rule(factor=st.sampled_from([0.0, 0.5, 1.0]))
    def change_the_rate(self, factor: float) -> None:
        self.mine.optimizer.param_groups[0]["lr"] = factor
        self.plain.optimizer.param_groups[0]["lr"] = RATE * factor

    @rule(dtype=st.sampled_from([torch.float32, torch.float64]))
    def cast(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        for one in self.both():
            for param in one.params:
                param.data, param.grad = param.data.to(dtype), None
        self.plain.optimizer.load_state_dict(self.plain.optimizer.state_dict())  # casts its memory

    @rule()
    def save_and_load_in_a_fresh_one(self) -> None:
        file = io.BytesIO()
        torch.save(self.mine.optimizer.state_dict(), file)
        file.seek(0)
        params = [nn.Parameter(param.detach().clone(), param.requires_grad) for param in self.mine.params]
        parts = iter(params)
        groups = [[next(parts) for _ in group["params"]] for group in self.mine.optimizer.param_groups]
        fresh = Mine(self.kind, groups[0])
        for group in groups[1:]:
            fresh.optimizer.add_param_group({"params": group})
        fresh.optimizer.load_state_dict(torch.load(file, weights_only=True))
        self.mine = Mine.__new__(Mine)
        self.mine.params, self.mine.optimizer = params, fresh.optimizer

    @rule(copied=st.sampled_from([copy.deepcopy, lambda content: pickle.loads(pickle.dumps(content))]))
    def copy(self, copied: Any) -> None:
        self.mine = copied(self.mine)

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "mine"):
            return
        for mine, plain in zip(self.mine.params, self.plain.params, strict=True):
            torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-4)
        assert self.mine.optimizer.num_steps == self.plain.num_steps
        assert not self.mine.optimizer.should_stop()


@pytest.mark.parametrize(("num_runs", "num_steps"), [(15, 20), pytest.param(200, 60, marks=pytest.mark.slow)])
def test_any_order(num_runs: int, num_steps: int) -> None:
    run_state_machine_as_test(
        DropIn, settings=settings(max_examples=num_runs, stateful_step_count=num_steps, deadline=None)
    )
