"""Stops that see the step after, and a batch whose rows are mixed up as problems leave it, planted."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import Tensor

from probact.inference.objectives.base import Objective
from probact.judging.stops import scores
from probact.judging.trajectory import record
from probact.stopping import online
from probact.stopping.online import OnlineBelief
from probact.stopping.rules import Cumulative, Patience
from probact.unrolling.step import Seen
from probact.unrolling.walk import Walk
from tests.helpers.checks import objective, problems
from tests.helpers.properties import (
    assert_compaction_changes_nothing,
    assert_scores_are_causal,
    assert_stops_where_the_replay_says,
)

pytestmark = pytest.mark.usefixtures("double")

NUM, HORIZON = 30, 12


@pytest.fixture
def built() -> Objective:
    """Its problems halt at different steps."""
    built = objective(horizon=HORIZON)
    assert built.posterior is not None
    with torch.no_grad():
        built.posterior.output.weight.mul_(3)
        built.posterior.output.bias.fill_(-2)
    return built.eval()


@pytest.fixture
def stop(built: Objective) -> Cumulative:
    """Half of the problems have reached it three quarters of the way."""
    there = record(built.rule, problems("regression", NUM), 3 * HORIZON // 4, built.posterior).known[-1]
    assert there.halted is not None
    return Cumulative(float(there.halted.median()))


def test_a_score_of_the_step_after(built: Objective) -> None:
    path = record(built.rule, problems("regression", NUM), HORIZON, built.posterior).known
    sound = partial(scores, Patience(epsilon=0.0))
    assert_scores_are_causal(sound, path)
    with pytest.raises(AssertionError):
        assert_scores_are_causal(lambda path: sound([*path[1:], path[-1]]), path)


def test_a_stop_that_sees_the_step_after(built: Objective, stop: Cumulative, monkeypatch: pytest.MonkeyPatch) -> None:
    class Peeking(Walk):
        def look(self) -> Seen:
            super().look()
            ahead = copy.copy(self)
            ahead.move()
            return Walk.look(ahead)

    assert_stops_where_the_replay_says(built, problems("regression", NUM), stop)
    monkeypatch.setattr(online, "begin", Peeking)
    with pytest.raises(AssertionError):
        assert_stops_where_the_replay_says(built, problems("regression", NUM), stop)


@pytest.mark.parametrize("part", [Walk, OnlineBelief])
def test_compaction_that_mixes_rows(
    part: type, built: Objective, stop: Cumulative, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the walk or of the halting posterior's memory: those that stay go on as one another."""
    compacted = assert_compaction_changes_nothing(built, problems("regression", NUM), stop)
    assert compacted.steps_computed < NUM * int(compacted.step.max())
    keep = part.keep

    def mixed(self: object, index: Tensor) -> None:
        keep(self, index.flip(0))

    monkeypatch.setattr(part, "keep", mixed)
    with pytest.raises(AssertionError):
        assert_compaction_changes_nothing(built, problems("regression", NUM), stop)
