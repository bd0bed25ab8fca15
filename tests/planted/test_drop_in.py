"""Drop-ins that go on after the stop, or look at what is not theirs, planted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from probact import LearnedOptimizer
from probact.stopping.rules import Budget
from tests.helpers.checks import objective, problems
from tests.helpers.loops import Loop, assert_stops_for_good, assert_walks_as_an_unroll

pytestmark = pytest.mark.usefixtures("double")


class Restless(LearnedOptimizer):
    """Makes a step where it decided not to make one."""

    def _look(self, loss: Tensor) -> None:
        super()._look(loss)
        if self.should_stop():
            self.param_groups[0]["params"][0].sub_(0.01)


class Deaf(LearnedOptimizer):
    """Freezes nothing, though it was asked for."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{**settings, "freeze_when_stopped": False})


class Curious(LearnedOptimizer):
    """Takes parameters without a gradient for a part of the problem."""

    def _look(self, loss: Tensor) -> None:
        for param in self.param_groups[0]["params"]:
            param.grad = torch.zeros_like(param) if param.grad is None else param.grad
        super()._look(loss)


@pytest.mark.filterwarnings("ignore:LearnedOptimizer")
@pytest.mark.parametrize("faulty", [Restless, Deaf])
def test_it_steps_after_it_stopped(faulty: type[LearnedOptimizer]) -> None:
    rule, alone = objective(rule="adam").rule, problems("regression", 1)
    assert_stops_for_good(Loop(alone, rule=rule, stop=Budget(3.0), freeze_when_stopped=True))
    with pytest.raises(AssertionError):
        assert_stops_for_good(Loop(alone, faulty, rule=rule, stop=Budget(3.0), freeze_when_stopped=True))


def test_it_looks_at_another_parameter() -> None:
    trained, alone = objective(rule="lstm"), problems("regression", 1)
    assert_walks_as_an_unroll(trained, alone)
    with pytest.raises(AssertionError):
        assert_walks_as_an_unroll(trained, alone, kind=Curious)
