"""A horizon that grows with the meta-steps, and with nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from probact.inference.objectives.base import Objective
from probact.training.meta_training import MetaTraining
from probact.training.schedule import horizon_at
from tests.helpers.trainings import same, tiny

CURRICULUM = {"horizon": 20, "curriculum": 4}


def test_it_grows_to_the_horizon_and_stays() -> None:
    for horizon, num_steps in [(1, 5), (7, 3), (50, 200), (1000, 10)]:
        horizons = [horizon_at(step, horizon, num_steps) for step in range(num_steps + 3)]
        assert horizons == sorted(horizons)
        assert horizons[0] == max(1, round(horizon / 10))
        assert horizons[num_steps:] == [horizon] * 3
    assert [horizon_at(step, 30, 0) for step in (0, 1)] == [30, 30]


@pytest.mark.parametrize(
    "settings", [{}, {"halting": "none"}, {"estimator": "sample"}, {"halting_first": True}, {"halting": "graves"}]
)
def test_training_unrolls_so_far_and_validation_to_the_end(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    training = MetaTraining(tiny(**CURRICULUM, **settings))
    kind, unrolled = type(training.objective), []
    unroll = kind.unroll

    def counting(objective: Objective, *arguments: Any) -> Any:
        rollout = unroll(objective, *arguments)
        unrolled.append((objective.prior.horizon, len(rollout.nll) - 1))
        return rollout

    monkeypatch.setattr(kind, "unroll", counting)
    records = list(training)
    caps = [cap for cap, _ in unrolled]
    assert caps == [20, 2, 4, 20, 6, 11, 20, 20, 20, 20]  # validated first, and after every second
    lengths = [length for _, length in unrolled]
    if settings.get("estimator") == "sample":
        assert all(length <= cap for cap, length in unrolled)
        assert lengths[3] == lengths[6] == 20
    else:
        assert lengths == caps
    assert all(record.skipped == 0 for record in records)
    assert training.objective.prior.horizon == 20


def test_a_run_that_continues_is_the_same_run() -> None:
    whole, first, second = (MetaTraining(tiny(**CURRICULUM)) for _ in range(3))
    list(whole)
    for record in first:
        if record.step == 3:
            break
    second.load_state_dict(first.state_dict())
    list(second)
    assert same(whole.objective.state_dict(), second.objective.state_dict())
    assert same(whole.best_weights, second.best_weights)
