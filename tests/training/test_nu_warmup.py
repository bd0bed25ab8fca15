"""A nu that falls while the network learns, and with it a price of a step that rises."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest

from probact.inference.objectives.base import Objective
from probact.runs.experiment import Experiment
from probact.training.meta_training import MetaTraining
from probact.training.schedule import nu_at
from tests.helpers.properties import assert_resumes_bit_for_bit
from tests.helpers.trainings import same, tiny


def test_the_price_rises_by_equal_factors_to_its_own() -> None:
    nus = [nu_at(step, 0.5, 8) for step in range(11)]
    prices = [-math.log(nu) for nu in nus]
    assert nus[0] == pytest.approx(0.95)
    assert nus[8:] == [0.5] * 3
    factors = [after / before for before, after in itertools.pairwise(prices[:9])]
    assert factors == pytest.approx([factors[0]] * 8)
    assert factors[0] > 1
    assert [nu_at(step, 0.97, 8) for step in (0, 8)] == [0.97, 0.97]


@pytest.mark.parametrize("settings", [{}, {"halting_first": True, "horizon_prior": "flat"}, {"looks": True}])
def test_training_pays_so_much_and_validation_the_last(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = tiny(prior_nu=0.5, nu_warmup=4, **settings)
    training = MetaTraining(experiment)
    kind, seen = type(training.objective), list[tuple[float, Any]]()
    unroll = kind.unroll

    def noting(objective: Objective, *arguments: Any) -> Any:
        looks = objective.unrolling.looks
        seen.append((float(objective.prior.nu), None if looks is None else looks.price))
        return unroll(objective, *arguments)

    monkeypatch.setattr(kind, "unroll", noting)
    list(training)
    risen = [nu_at(step, 0.5, 4) for step in range(6)]
    expected = [0.5, *risen[:2], 0.5, *risen[2:4], 0.5, *risen[4:], 0.5]  # validated first, and after every second
    assert [nu for nu, _ in seen] == pytest.approx(expected)
    if settings.get("looks"):
        assert [price for _, price in seen] == pytest.approx([-experiment.kl_scale * math.log(nu) for nu in expected])
    assert training.objective.prior.nu == 0.5


def test_a_run_that_continues_is_the_same_run(tmp_path: Path) -> None:
    assert_resumes_bit_for_bit(tiny(prior_nu=0.5, nu_warmup=4), tmp_path)


def test_a_larger_nu_than_the_first_is_kept() -> None:
    annealed, plain = (MetaTraining(tiny(prior_nu=0.97, nu_warmup=steps)) for steps in (4, 0))
    for training in (annealed, plain):
        list(training)
    assert same(annealed.objective.state_dict(), plain.objective.state_dict())


def test_of_a_range_there_is_no_one_nu() -> None:
    with pytest.raises(ValueError, match="expected nu-warmup or prior-nu-range, got both"):
        Experiment.create(looks=True, prior_nu_range=(0.5, 0.99), nu_warmup=10)


def test_what_it_needs() -> None:
    with pytest.raises(ValueError, match="nu-warmup: expected at most the meta-steps, 10, got 20"):
        Experiment.create(nu_warmup=20, meta_steps=10, prior_nu=0.5)
    for name, value in {"nu_warmup": 5, "head_units": 8}.items():
        with pytest.raises(ValueError, match=f"{name.replace('_', '-')}: expected a halting posterior, got none"):
            Experiment.create(**{name: value}, halting="none")
