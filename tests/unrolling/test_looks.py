"""Halting that sees x, and stopping that returns the best look."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from probact import LearnedOptimizer
from probact.inference.predictions import draw_observations
from probact.inference.price import nu_of, price_of
from probact.inference.priors import Prior
from probact.stopping.online import run_until_stopped
from probact.stopping.rules import Budget, Patience
from probact.testing import assert_causal, assert_no_leak
from probact.unrolling import looks as looks_at_x
from probact.unrolling.looks import Looks
from probact.unrolling.rollout import returned_params, unroll
from probact.unrolling.walk import Unrolling
from tests.helpers.checks import assert_matches_closed_form, objective, problems
from tests.helpers.looks import (
    HORIZON,
    assert_evidence_is_of,
    assert_features_are_those_of_a_loop,
    assert_free_of_units,
    assert_looks_are_causal,
    assert_online_is_the_whole,
    assert_recalls_the_best_so_far,
    looking,
    networks,
    settings_of,
    stops_in,
)

pytestmark = pytest.mark.usefixtures("double")


def test_features_of_a_look_are_those_of_a_loop_over_all() -> None:
    assert_features_are_those_of_a_loop()


def test_a_look_changes_nothing_before_it() -> None:
    assert_looks_are_causal(looks_at_x.of_unroll)
    head = looking().posterior
    assert head is not None
    assert_causal(head, torch.randn(5, 3, head.memory.input_size))


def test_losses_beyond_all_bounds_give_features() -> None:
    nll = torch.tensor([[math.inf, 1e300, 1.0], [1.0, math.nan, 1e40], [0.5, -1e300, 2.0]])
    assert bool(looks_at_x.of_unroll(nll, 1e-6).isfinite().all())
    assert bool(looks_at_x.of_unroll(nll.float(), 1e-6).isfinite().all())


@pytest.mark.parametrize("recall", [False, True])
def test_followed_online_is_the_whole_unroll(recall: bool) -> None:
    assert_online_is_the_whole(looking(recall=recall), networks())


def test_no_problem_tells_another() -> None:
    assert_no_leak(looking().unroll, networks(5))


def test_recall_is_the_best_so_far() -> None:
    built, optimizee = looking(), networks()
    path = unroll(built.rule, optimizee, HORIZON).nll
    assert_recalls_the_best_so_far(built.unroll(optimizee), path)
    torch.testing.assert_close(looking(recall=False).unroll(optimizee).nll, path, rtol=0, atol=0)


@pytest.mark.parametrize("recall", [False, True])
def test_evidence_posterior_and_gaps_are_of_what_is_returned(recall: bool) -> None:
    built, optimizee = looking(recall=recall), networks()
    path = unroll(built.rule, optimizee, HORIZON).nll
    assert_evidence_is_of(built, optimizee, path.cummin(0).values if recall else path)


@pytest.mark.parametrize("estimator", ["enumerate", "collapse"])
def test_the_bound_is_the_closed_form_also_for_a_rule_that_learns(estimator: str) -> None:
    built = objective(objective="elbo", estimator=estimator, looks=True, recall=True)
    assert_matches_closed_form(built, problems("regression"))  # type: ignore[arg-type]


def test_stopping_returns_the_best_look() -> None:
    built, optimizee = looking(), networks()
    rollout = built.unroll(optimizee)
    path = list(returned_params(built.rule, optimizee, HORIZON, best=True))
    for steps in (1, 5, HORIZON):
        for compact in (True, False):
            ran = run_until_stopped(built.rule, optimizee, HORIZON, Budget(steps), built.posterior, compact=compact)
            torch.testing.assert_close(ran.nll, rollout.nll[steps])
            torch.testing.assert_close(ran.params, path[steps - 1])
    kept = rollout.with_path(built.rule, Looks(1.0, recall=True)).path
    assert kept is not None
    torch.testing.assert_close({name: tensor[4] for name, tensor in kept.items()}, path[4])


def test_patience_sees_the_loss_on_x() -> None:
    built, optimizee = looking(), networks()
    nll = unroll(built.rule, optimizee, HORIZON).nll[1:]
    ran = run_until_stopped(built.rule, optimizee, HORIZON, Patience(2, epsilon=0), built.posterior)
    for problem, step in enumerate(ran.step.tolist()):
        losses = nll[:, problem].tolist()
        waits = [n - min(range(n + 1), key=losses.__getitem__) for n in range(HORIZON)]
        assert step == next((n + 1 for n, wait in enumerate(waits) if wait >= 2), HORIZON)


def test_draws_are_at_the_best_look() -> None:
    built, optimizee = looking(), networks(3)
    t = torch.full((400, 3), HORIZON)
    best = list(returned_params(built.rule, optimizee, HORIZON, best=True))[-1]
    predictive = optimizee.predictive(best)
    assert predictive is not None
    drawn = draw_observations(built.rule, optimizee, t, torch.Generator().manual_seed(0), Looks(1.0, recall=True))
    expected = predictive.sample((4000,))
    assert float((drawn.double().mean(0) - expected.double().mean(0)).abs().max()) < 1.0


def test_factors_on_losses_and_price_change_no_decision() -> None:
    assert_free_of_units(stops_in)


def test_price_and_nu_are_one_number() -> None:
    for kappa in (0.05, 1.0, 64.0):
        for nu in (1e-9, 0.3, 0.95, 0.9999):
            price = price_of(nu, kappa)
            assert nu_of(price, kappa) == pytest.approx(nu)
            built = settings_of(prior_nu=nu, kl_scale=kappa, horizon_prior="flat", looks=True)
            assert built.step_cost == built.build_looks().price == price  # type: ignore[union-attr]
            charged = kappa * Prior(nu, 5, horizon_prior="flat").price()
            torch.testing.assert_close(charged, torch.full((4,), price))
    flat = Prior(0.9, 5, horizon_prior="flat")
    prices = torch.tensor([0.2, 1.0, 3.0])
    at = flat.at((-prices).exp())
    torch.testing.assert_close(at.price(), prices.unsqueeze(-1).expand(3, 4))
    torch.testing.assert_close(flat.at(0.3).log_marginal(), Prior(0.3, 5, horizon_prior="flat").log_marginal())


def test_a_range_is_log_uniform_in_price() -> None:
    built = settings_of(looks=True, prior_nu=0.9, prior_nu_range=[0.5, 0.999], kl_scale=3.0)
    prices = [built.at_price(share).step_cost for share in (0.0, 0.25, 0.5, 1.0)]
    low, high = -3 * math.log(0.999), -3 * math.log(0.5)
    assert prices == pytest.approx([low, low**0.75 * high**0.25, (low * high) ** 0.5, high])
    plain = settings_of()
    assert plain.at_price(0.3) is plain


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"recall": True}, "recall: expected looks"),
        ({"prior_nu_range": [0.5, 0.9]}, "prior-nu-range: expected looks"),
        (
            {"looks": True, "prior_nu_range": [0.5, 0.9]},
            "prior-nu: expected one in prior-nu-range, 0.5 to 0.9, got",
        ),
        ({"looks": True, "prior_nu_range": [0.9, 0.5]}, "two numbers, the lower first, > 0 and < 1, got"),
        ({"looks": True, "prior_nu_range": [0.5]}, "two numbers"),
        ({"looks": True, "prior_nu_range": [0.5, 1.0]}, "two numbers"),
        ({"looks": True, "by_segment": True}, "expected looks or by-segment, got both"),
        ({"looks": True, "halting": "none"}, "looks: expected a halting posterior"),
    ],
)
def test_what_cannot_be_together_is_refused(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        settings_of(**{"prior_nu": 0.95, **given}) if "halting" not in given else objective(**given)


def test_the_drop_in_cannot_follow_a_head_that_looks_at_x() -> None:
    built = looking()
    with pytest.raises(ValueError, match="posterior: expected one that sees what the rule descends"):
        LearnedOptimizer([torch.nn.Parameter(torch.zeros(2))], built.rule, built.posterior)


def test_without_looks_nothing_is_added() -> None:
    assert Unrolling().looks is None
    plain = objective()
    assert plain.posterior is not None
    assert plain.posterior.memory.input_size == plain.unroll(problems("regression")).features.shape[-1]
