"""What the first run says in words, and that the words follow the numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from probact import MetaTraining, StopRule, halting_statistics, to_datatree
from probact.judging.own_stop import own_stops
from probact.judging.stops import stop_by, tune_stop
from probact.judging.trajectory import record
from probact.reports import text
from probact.reports.halting_statistics import HaltingStatistics
from probact.reports.verdict import Stopping, verdict
from probact.stopping.base import STOP_RULES
from tests.helpers.trainings import tiny


@pytest.fixture(scope="module")
def statistics() -> HaltingStatistics:
    training = MetaTraining(tiny())
    problems = training.family.sample(20, torch.Generator().manual_seed(0))
    return halting_statistics(to_datatree(training.experiment, [training.objective], problems, num_draws=1))


GOOD = Stopping(
    price=0.05, J=13.4, J_budget=13.7, J_patience=13.5, J_oracle=13.3, J_error=0.01, J_error_patience=0.02,
    steps_budget=14.0, sd=6.0, sd_oracle=9.0, rank_correlation=0.86,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "The stop follows the problem: its rank correlation with the best step in hindsight is 0.86, and it "
             "varies by 6.0 steps where that one varies by 9.0."),
        ({"rank_correlation": 0.5}, "The stop follows the problem in part: "),
        ({"sd": 4.0}, "The stop follows the problem in part: "),
        ({"rank_correlation": 0.1}, "The stop hardly depends on the problem: "),
        ({"rank_correlation": -0.9}, "The stop hardly depends on the problem: "),
        ({"rank_correlation": math.nan, "sd": 0.0}, "The stop does not depend on the problem."),
        ({"rank_correlation": math.nan, "sd_oracle": 0.0}, "The best step is the same for all."),
        ({}, "it saves 0.3 ± 0.01 nats against the best budget for all, 14 steps, and saves 0.1 ± 0.02 nats against "
             "patience; it costs 0.1 more than the best step in hindsight."),
        ({"J": 13.8}, "it costs 0.1 ± 0.01 nats more than the best budget"),
        ({"learned": False, "rule": "9 steps"}, "There is no head to follow step by step: a plain rule stops, 9 steps"),
        ({"J": 13.5, "J_patience": 13.5, "J_error_patience": 0.0}, "is level with patience (0 ± 0 nats apart)"),
        ({"J_error": math.nan}, "it saves 0.3 nats against the best budget for all, 14 steps, and"),
        ({"J": 13.51}, "is level with patience (0.01 ± 0.02 nats apart)"),
    ],
)  # fmt: skip
def test_the_words_follow_the_numbers(changed: dict[str, Any], said: str, statistics: HaltingStatistics) -> None:
    assert said in verdict(statistics, replace(GOOD, **changed))


@pytest.mark.parametrize(
    ("gaps", "said"),
    [
        ({"amortisation_gap": 0.1, "horizon_gap": 0.3}, "0.4 nats below the evidence, 0.3 of it as T is drawn before"),
        ({"amortisation_gap": 0.3, "horizon_gap": 0.1}, "0.4 nats below the evidence, 0.3 of it as q is not"),
        ({"kl_scale": 0.5, "tempered_gap": 0.07}, "at KL scale 1; at 0.5, where q was trained, q is 0.07 nats"),
    ],
)  # fmt: skip
def test_it_says_what_the_bound_loses(gaps: dict[str, float], said: str, statistics: HaltingStatistics) -> None:
    assert said in verdict(replace(statistics, **gaps), GOOD)
    assert "The bound" not in verdict(replace(statistics, **gaps, elbo=math.nan), GOOD)


def test_the_own_stop_follows_the_head_and_is_tuned_on_problems_apart() -> None:
    training = MetaTraining(tiny(horizon=12, prior_nu=0.7))
    objective, experiment = training.objective, training.experiment
    problems = training.family.sample(30, torch.Generator().manual_seed(5))
    found = own_stops(experiment, objective, problems)
    assert found.rule.name in {"hazard", "cumulative"}
    assert STOP_RULES[found.rule.name].needs_posterior
    path = record(objective.rule, problems, 12, objective.posterior)
    price = -math.log(0.7)
    # The threshold is not one fitted to the problems it is judged on, except by chance.
    assert torch.equal(found.stop, stop_by(StopRule.read(found.rule.spelled()), path, price).stop)
    fitted = tune_stop(type(found.rule), path, price)
    assert fitted.choice[1] <= float(stop_by(found.rule, path, price).J.mean()) + 1e-9
    J = path.nll[1:] + price * torch.arange(1, 13).unsqueeze(-1)
    np.testing.assert_array_equal(found.oracle, 1 + J.argmin(0))


def test_tuning_problems_that_all_diverge_fail_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    training = MetaTraining(tiny())
    nowhere = training.family.sample(6, torch.Generator())._map(lambda tensor: tensor * 1e30)
    monkeypatch.setattr("probact.judging.own_stop.tuning_problems", lambda experiment: nowhere)
    found = own_stops(training.experiment, training.objective, training.family.sample(5, torch.Generator()))
    assert bool(((found.stop >= 1) & (found.stop <= 6)).all())


@pytest.mark.parametrize("halting", ["truncated", "none"])
def test_without_a_head_that_can_be_followed_it_is_the_best_plain_rule(halting: str) -> None:
    training = MetaTraining(tiny(halting=halting))
    found = own_stops(training.experiment, training.objective, training.family.sample(8, torch.Generator()))
    assert not STOP_RULES[found.rule.name].needs_posterior


def test_what_is_compared_is_loss_and_steps_and_its_error_is_paired(statistics: HaltingStatistics) -> None:
    training = MetaTraining(tiny())
    problems = training.family.sample(20, torch.Generator().manual_seed(0))
    tree = to_datatree(training.experiment, [training.objective, MetaTraining(tiny(seed=1)).objective], problems)
    data, found = tree["constant_data"].to_dataset(), halting_statistics(tree).stopping
    J: dict[str, xr.DataArray] = {}
    for name in ("own", "budget", "patience", "oracle"):
        stop = data[f"stop_{name}"]
        at = np.take_along_axis(data.loss_path.values, stop.values[..., None] - 1, -1)[..., 0]
        J[name] = at + found.price * stop
    assert pytest.approx(float(J["own"].mean())) == found.J
    assert found.J_oracle == pytest.approx(float(J["oracle"].mean()))
    for name, error in (("budget", found.J_error), ("patience", found.J_error_patience)):
        difference = (J["own"] - J[name]).mean("chain").values
        assert error == pytest.approx(float(np.std(difference, ddof=1)) / 20**0.5)
    assert found.wins == pytest.approx(float(np.mean(J["own"].values < J["budget"].values)))
    assert found.wins_patience == pytest.approx(float(np.mean(J["own"].values < J["patience"].values)))


def test_of_no_problem_nothing_is_said(statistics: HaltingStatistics) -> None:
    lost = replace(statistics, num_optimizees=0, num_diverged=7, stopping=Stopping())
    assert text.worth_table(lost) == "stopping: nothing to say, for all 7 held-out problems diverged"
    assert "an earlier version" in text.worth_table(replace(statistics, stopping=Stopping()))
    assert text.worth_table(statistics).endswith(statistics.stopping.verdict.split()[-1])
