"""Drop-ins that go on after the stop, or look at what is not theirs, planted."""

from __future__ import annotations

import pytest
from torch import Tensor

from probact import LearnedOptimizer
from probact.stopping.rules import Budget
from tests.helpers.checks import objective, problems
from tests.helpers.loops import Loop, assert_stops_for_good, assert_walks_as_an_unroll

pytestmark = pytest.mark.usefixtures("double")


class Restless(LearnedOptimizer):
    """Makes the step that it decided not to make."""

    def _step(self, loss: Tensor) -> None:
        super()._step(loss)
        if self._stopped:
            self._all[0].sub_(0.01 * self._all[0].grad)


class Undecided(LearnedOptimizer):
    """Decides again at every step, after the stop too, and differently."""

    decisions = 0

    def _decide(self, known: object) -> bool:
        self.decisions += 1
        return self.decisions == 3

    def step(self, closure: object = None, *, loss: object = None) -> object:
        self._stopped = False
        return super().step(closure, loss=loss)  # type: ignore[arg-type]


class Curious(LearnedOptimizer):
    """Takes parameters without a gradient for a part of the problem."""

    def _named(self) -> list[str]:
        super()._named()
        return [str(place) for place in range(len(self._all))]


@pytest.mark.parametrize("faulty", [Restless, Undecided])
def test_it_steps_after_it_stopped(faulty: type[LearnedOptimizer]) -> None:
    rule, alone = objective(rule="adam").rule, problems("regression", 1)
    assert_stops_for_good(Loop(alone, rule=rule, stop=Budget(3.0)))
    with pytest.raises(AssertionError):
        assert_stops_for_good(Loop(alone, faulty, rule=rule, stop=Budget(3.0)))


def test_it_looks_at_another_parameter() -> None:
    trained, alone = objective(rule="lstm"), problems("regression", 1)
    assert_walks_as_an_unroll(trained, alone)
    with pytest.raises(AssertionError):
        assert_walks_as_an_unroll(trained, alone, kind=Curious)
