"""Rules that carry something from problem to problem, planted."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from probact.rules.base import Step
from probact.rules.hand_designed import SGD, Momentum
from probact.support.trees import Params, State, map_params
from probact.unrolling.rollout import unroll
from tests.helpers.checks import assert_no_leak, problems

pytestmark = pytest.mark.usefixtures("double")


class Normalised(SGD):
    """Divides by the norm of all problems' gradients."""

    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        return super().update(map_params(lambda grad: grad / grad.norm(), grads), state, params)


class SharedMemory(Momentum):
    """Remembers the problems' mean gradient."""

    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        update, velocity = super().update(grads, state, params)
        return update, map_params(lambda v: v.mean(0, keepdim=True).expand_as(v), velocity)


class Tells(SGD):
    """Tells each problem's halting posterior the largest loss of all."""

    num_features = 1

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        step = super().step(grads, state, params, loss)
        return step._replace(features=torch.full((len(loss), 1), float(loss.max())))


@pytest.mark.parametrize(("sound", "faulty"), [(SGD, Normalised), (Momentum, SharedMemory), (SGD, Tells)])
def test_a_rule_whose_rows_leak(sound: type[SGD], faulty: type[SGD]) -> None:
    assert_no_leak(partial(unroll, sound(lr=0.01), horizon=5), problems("regression"))
    with pytest.raises(AssertionError):
        assert_no_leak(partial(unroll, faulty(lr=0.01), horizon=5), problems("regression"))
