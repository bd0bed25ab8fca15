from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from probact.inference.objectives.base import Objective
from probact.inference.posteriors.base import POSTERIORS
from probact.judging.calibration import calibration
from probact.judging.stops import (
    first_stop,
    oracle,
    scores,
    shares,
    stop_by,
    stopped_cost,
    tune_stop,
    verdicts,
)
from probact.judging.trajectory import Trajectory, record
from probact.problems.base import FAMILIES
from probact.rules.base import RULES
from probact.runs.experiment import Experiment
from probact.stopping.base import STOP_RULES, Known, StopRule
from probact.stopping.online import run_until_stopped
from probact.stopping.rules import Budget, Hazard
from probact.support.sight import Sight
from probact.testing import check_stop_rule
from tests.helpers.checks import OPTIMIZERS, objective, problems
from tests.helpers.properties import (
    assert_compaction_changes_nothing,
    assert_stops_where_the_replay_says,
)

H = 12
ONLINE = [name for name in POSTERIORS if POSTERIORS[name].online]


def spread(halting: str = "stick-breaking", **settings: Any) -> Objective:
    """An objective whose problems halt at different steps."""
    built = objective(halting=halting, horizon=H, **settings)
    assert built.posterior is not None
    with torch.no_grad():
        built.posterior.output.weight.mul_(3)
        built.posterior.output.bias.fill_(-2)
    return built.eval()


def path_of(built: Objective, family: str = "regression", num: int = 40, seed: int = 0) -> Trajectory:
    return record(built.rule, problems(family, num, seed), H, built.posterior)


@pytest.mark.parametrize("halting", ONLINE)
def test_followed_online_is_the_whole_unroll(halting: str, double: None) -> None:
    """Step by step, the mass spent is the row T = H of q, but for its remainder at H."""
    built = spread(halting)
    path = path_of(built)
    rollout = built.unroll(problems("regression", 40))
    assert built.posterior is not None
    q = built.posterior(rollout.features).log_prob()[-1].exp().T
    halted = torch.stack([known.halted for known in path.known if known.halted is not None])
    torch.testing.assert_close(halted[:-1], q.cumsum(0)[:-1])
    torch.testing.assert_close(path.nll, rollout.nll)
    assert len(halted) == H


@pytest.mark.parametrize("halting", [name for name in POSTERIORS if name not in ONLINE])
def test_posteriors_that_need_the_whole_unroll_are_refused(halting: str) -> None:
    built = objective(halting=halting)
    with pytest.raises(ValueError, match=f"'{halting}' needs the whole unroll: expected stick-breaking or graves"):
        path_of(built)


def known(step: int, **values: float) -> Known:
    given: dict[str, Any] = {"loss": 1.0, "grad_norm": 1.0, "hazard": 0.1, "halted": 0.1, **values}
    return Known(step, *(torch.tensor([value], dtype=torch.float64) for value in given.values()))


def test_scores_by_hand() -> None:
    losses = [5.0, 4.0, 3.98, 3.97, 3.0, 3.0]
    path = [known(s + 1, loss=loss, grad_norm=10.0**-s, halted=s / 10, hazard=s / 20) for s, loss in enumerate(losses)]

    def of(rule: StopRule) -> list[float]:
        return [round(value, 9) for value in scores(rule, path).squeeze(1).tolist()]

    assert of(STOP_RULES["budget"]()) == [1, 2, 3, 4, 5, 6]
    assert of(STOP_RULES["gradient"]()) == [0, 1, 2, 3, 4, 5]
    assert of(STOP_RULES["patience"](epsilon=0.05)) == [0, 0, 1, 2, 0, 1]
    assert of(STOP_RULES["patience"](epsilon=0.0)) == [0, 0, 0, 0, 0, 1]
    assert of(STOP_RULES["cumulative"]()) == [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert of(STOP_RULES["hazard"]()) == [0, 0.05, 0.1, 0.15, 0.2, 0.25]
    expecting = known(1)._replace(expected=torch.tensor([0.01], dtype=torch.float64))
    assert float(scores(STOP_RULES["expected-improvement"](), [expecting])) == pytest.approx(2)
    u = float(STOP_RULES["stochastic"](seed=3).init(path[0].loss))
    assert 0 < u < 1
    assert of(STOP_RULES["stochastic"](seed=3)) == [round(s / 10 - u, 9) for s in range(6)]


def test_first_stop() -> None:
    score = torch.tensor([[0.1, 0.9, 0.0], [0.6, 0.1, 0.0], [0.9, 0.9, 0.0]])
    assert first_stop(score, 0.5).tolist() == [2, 1, 3]


@pytest.mark.parametrize("name", list(STOP_RULES))
def test_conformance(name: str) -> None:
    check_stop_rule(STOP_RULES[name])


def test_a_draw_of_the_stochastic_rule_has_the_law_of_q(double: None) -> None:
    built = spread()
    one = problems("regression", 1).select(torch.zeros(20_000, dtype=torch.long))
    path = record(built.rule, one, H, built.posterior)
    stop = stop_by(STOP_RULES["stochastic"](seed=1), path, 0.05).stop
    q = torch.diff(torch.stack([k.halted[0] for k in path.known if k.halted is not None]), prepend=torch.zeros(1))
    q[-1] = 1 - q[:-1].sum()
    frequency = torch.bincount(stop - 1, minlength=H) / len(stop)
    assert float((frequency - q).abs().max()) < 4 * (0.25 / len(stop)) ** 0.5


@pytest.mark.parametrize("rule", OPTIMIZERS)
@pytest.mark.parametrize("family", ["regression", "digits-mixed"])
def test_compaction_changes_no_result(rule: str, family: str, double: None) -> None:
    """Every rule, with problems leaving the batch: the same stops and the same parameters, however they stop."""
    built = spread(rule=rule)
    optimizee = problems(family, 12)
    stop = Hazard(0.13) if rule != "lstm" else Hazard(0.12)
    others = (STOP_RULES["patience"](1.0, epsilon=0.0), STOP_RULES["stochastic"]()) if family == "regression" else ()
    for stop_rule in (stop, *others):
        assert_compaction_changes_nothing(built, optimizee, stop_rule)


def test_the_run_stops_where_the_replay_says() -> None:
    built = spread()
    for stop in (Hazard(0.1), Budget(5.0), STOP_RULES["patience"](2.0)):
        assert_stops_where_the_replay_says(built, problems("regression", 40), stop)


def test_compaction_saves_steps() -> None:
    built = spread()
    saved = run_until_stopped(built.rule, problems("regression", 64), H, Hazard(0.125), built.posterior)
    steps = int(saved.step.sum())
    assert steps <= saved.steps_computed < 64 * H


def test_verdicts_by_brute_force(double: None) -> None:
    """Thresholds tuned by trying every step rule by hand; oracle by loops."""
    built = spread()
    tuning, test = path_of(built, seed=1, num=60), path_of(built)
    cost = 0.3
    found = {verdict.kind: verdict for verdict in verdicts(test, tuning, cost)}
    budgets = [float((tuning.nll[t] + cost * t).mean()) for t in range(1, H + 1)]
    assert found["budget"].stop.unique().tolist() == [1 + budgets.index(min(budgets))]
    for problem in range(test.nll.shape[1]):
        costs = [float(test.nll[t, problem]) + cost * t for t in range(1, H + 1)]
        assert int(found["oracle"].stop[problem]) == 1 + costs.index(min(costs))
        assert float(found["oracle"].J[problem]) == pytest.approx(min(costs))
    assert torch.equal(oracle(test, cost), found["oracle"].stop)
    assert "exact MAP" not in found
    share = dict(zip(found, shares(list(found.values())), strict=True))
    assert share["budget"] == 0
    assert share["oracle"] == pytest.approx(1)
    assert all(value <= 1 + 1e-12 for value in share.values())


def test_tuning_takes_the_best_threshold_there_is(double: None) -> None:
    path = path_of(spread(), num=30)
    score = scores(Hazard(), path.known)
    best = min(float(stopped_cost(path, first_stop(score, t), 0.3).mean()) for t in score.flatten().tolist())
    _, (diverged, J) = tune_stop(Hazard, path, 0.3)
    assert diverged == 0
    assert best <= J <= best + 0.05 * abs(best)


def test_stopping_after_divergence_counts_against_a_rule() -> None:
    optimizee = problems("quadratic", 30)
    path = record(RULES["sgd"](lr=0.4), optimizee, 200)
    assert not bool(path.nll[-1].isfinite().all())
    tuned = tune_stop(Budget, path, 0.01)
    assert tuned.choice[0] == 0
    verdict = stop_by(Budget(200.0), path, 0.01)
    assert verdict.summary().diverged == int((~path.nll[-1].isfinite()).sum())


def test_calibration_of_the_truth(double: None) -> None:
    """A posterior that knows the oracle's stop is calibrated; one that always says a half is not."""
    path = path_of(spread(), num=50)
    stop = oracle(path, 0.3)

    def with_halted(halted: Any) -> Trajectory:
        return path._replace(known=[k._replace(halted=halted(k.step)) for k in path.known])

    perfect = calibration(with_halted(lambda s: (stop <= s).double()), 0.3)
    assert perfect.error == 0
    assert sum(perfect.entries) == 50 * H
    constant = calibration(with_halted(lambda s: torch.full((50,), 0.55).double()), 0.3)
    share = float(torch.stack([stop <= s for s in range(1, H + 1)]).double().mean())
    assert constant.error == pytest.approx(abs(0.55 - share), abs=1e-9)


def test_the_cost_of_a_step_is_what_training_charged() -> None:
    assert Experiment.create().step_cost == pytest.approx(-math.log(0.95))
    sharpened = Experiment.create(kl_scale=0.2, prior_nu=0.95**5)
    assert sharpened.step_cost == pytest.approx(-math.log(0.95))


def test_every_family_of_optimizees_can_be_followed() -> None:
    for family in (name for name in FAMILIES if Sight.GRADIENT in FAMILIES[name].shows):
        drawn = problems(family, 3)
        path = record(RULES["adam"](), drawn, 2, score_at=[2])
        assert path.nll.shape == (3, 3)
        assert bool(path.scores) == (drawn.test_score(drawn.theta0) is not None)


def test_the_thresholds_of_those_who_choose_none() -> None:
    defaults = {name: STOP_RULES[name].default for name in STOP_RULES}
    online = {"cumulative": 0.5, "hazard": 0.025, "stochastic": 0.0, "expected-improvement": -math.log10(0.05)}
    assert defaults == {"budget": 20.0, "gradient": 3.0, "patience": 5.0, **online}
