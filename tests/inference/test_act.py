from __future__ import annotations

from typing import Any

import pyro
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import SVI, TraceEnum_ELBO, config_enumerate
from torch import Tensor

from probact.inference import exact
from probact.inference.objectives.act import ACT
from probact.inference.objectives.base import OBJECTIVES
from probact.inference.objectives.estimators import ESTIMATORS
from probact.inference.posteriors.base import POSTERIORS
from probact.inference.priors import Prior
from probact.rules.base import RULES
from probact.runs.assembly import build_objective
from probact.runs.experiment import Experiment
from probact.testing import check_estimator, check_objective
from probact.training.meta_training import MetaTraining
from probact.unrolling.rollout import Rollout
from tests.helpers.checks import (
    HORIZON,
    NUM,
    OPTIMIZERS,
    assert_causal,
    assert_matches_closed_form,
    gradients,
    objective,
    problems,
)

EXACT = [name for name in ESTIMATORS if not ESTIMATORS[name].draws_horizon]


def act_of(**settings: Any) -> ACT:
    built = objective(**{"objective": "elbo", **settings})
    assert isinstance(built, ACT)
    return built


@pytest.mark.parametrize("family", ["regression", "quadratic"])
@pytest.mark.parametrize("halting", list(POSTERIORS))
@pytest.mark.parametrize("estimator", EXACT)
def test_elbo_and_every_gradient_equal_the_closed_form(family: str, halting: str, estimator: str, double: None) -> None:
    act = act_of(family=family, halting=halting, estimator=estimator, through_path=True)
    assert_matches_closed_form(act, problems(family))


@pytest.mark.parametrize(
    ("estimator", "halting"),
    [
        (estimator, halting)
        for number, estimator in enumerate(ESTIMATORS)
        for place, halting in enumerate(POSTERIORS)
        if ESTIMATORS[estimator].draws_horizon or (number + place) % 2
    ],
)
def test_estimators_conform(estimator: str, halting: str) -> None:
    """Each posterior with an exact estimator, under every guide, and with one that draws."""
    check_estimator(ESTIMATORS[estimator], halting)


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_objectives_conform(name: str) -> None:
    check_objective(OBJECTIVES[name])


@pytest.mark.parametrize("kl_scale", [0.2, 3.0])
def test_kl_scale_weighs_both_sites(kl_scale: float, double: None) -> None:
    act = act_of(estimator="enumerate", kl_scale=kl_scale)
    assert_matches_closed_form(act, problems("regression"))


def test_sample_unrolls_only_to_the_largest_horizon() -> None:
    act = act_of(estimator="sample", horizon=60, prior_nu=0.5)
    rollout = act.unroll(problems("quadratic"), torch.Generator().manual_seed(0))
    assert rollout.horizon is not None
    assert len(rollout.features) == int(rollout.horizon.max()) < 60
    assert len(act.eval().unroll(problems("quadratic")).features) == 60


def test_sample_draws_in_the_guide_when_nothing_was_drawn(double: None) -> None:
    act = act_of(estimator="sample")
    rollout = act.eval().unroll(problems("quadratic"))
    trace = poutine.trace(act.guide).get_trace(rollout)
    assert trace.nodes["T"]["value"].shape == (NUM,)
    assert 1 <= int(trace.nodes["T"]["value"].min()) <= int(trace.nodes["T"]["value"].max()) <= HORIZON


@pytest.mark.parametrize("family", ["regression", "quadratic"])
def test_model_side_enumeration_is_the_exact_evidence(family: str, double: None) -> None:
    act = act_of(family=family, estimator="enumerate")
    rollout = act.eval().unroll(problems(family))
    loss = TraceEnum_ELBO(max_plate_nesting=1).loss(config_enumerate(act.model), lambda *args: None, rollout)
    evidence = exact.log_evidence(act.prior, rollout.log_likelihood).sum()
    assert loss == pytest.approx(-float(evidence.detach()), abs=1e-9)


@pytest.mark.parametrize("halting", list(POSTERIORS))
def test_bound_is_below_the_evidence(halting: str, double: None) -> None:
    act = act_of(halting=halting)
    rollout = act.unroll(problems("regression"))
    evidence = exact.log_evidence(act.prior, rollout.log_likelihood).mean()
    assert -float(act.loss(rollout).detach()) <= float(evidence.detach())


def test_svi_and_the_trainer_make_identical_updates() -> None:
    settings = Experiment.create(
        family="quadratic", horizon=6, batch=4, meta_steps=4, lr=0.01, clip=1e9, validate_every=100, test_problems=2
    )
    training = MetaTraining(settings)
    act = build_objective(settings)
    assert isinstance(act, ACT)
    from probact.support.randomness import random_stream

    svi = None
    for record in training:
        if svi is None:
            # the trainer's cosine starts at the full rate; SVI follows it by resetting the rate
            optimizer = pyro.optim.Adam({"lr": settings.lr})
            svi = SVI(act.model, act.guide, optimizer, act.estimator)
        for state in optimizer.optim_objs.values():
            state.param_groups[0]["lr"] = record.lr
        problem = training.family.sample(4, random_stream("train", settings.seed, record.step - 1))
        loss = svi.step(act.unroll(problem))
        assert loss == pytest.approx(record.loss, rel=1e-6)
        for ours, theirs in zip(act.parameters(), training.objective.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)


def test_the_head_runs_once_for_model_and_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    act = act_of()
    assert act.posterior is not None
    seen: list[Tensor] = []
    forward = act.posterior.forward
    monkeypatch.setattr(act.posterior, "forward", lambda features: seen.append(features) or forward(features))
    rollout = act.unroll(problems("regression"))
    first = act.loss(rollout)
    assert len(seen) == 1
    with torch.no_grad():
        act.posterior.output.bias += 1.0
    assert act.loss(rollout).item() != pytest.approx(first.item(), abs=1e-3)  # nothing is kept from call to call
    broken = rollout._replace(nll=rollout.nll[:3])
    with pytest.raises((RuntimeError, ValueError)):
        act.loss(broken)
    torch.testing.assert_close(act.loss(rollout), act.loss(rollout))


def test_training_leaves_the_global_store_alone() -> None:
    act = act_of(horizon=3)
    act.loss(act.unroll(problems("quadratic")))
    assert len(pyro.get_param_store()) == 0


@pytest.mark.parametrize("halting", list(POSTERIORS))
def test_causal_from_the_first_gradient_on(halting: str, double: None) -> None:
    act = act_of(halting=halting)
    assert act.posterior is not None
    assert_causal(act.posterior, act.unroll(problems("regression")).features.detach())


@pytest.mark.parametrize("halting", list(POSTERIORS))
@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_any_rule_with_any_posterior_trains_every_weight(rule: str, halting: str, double: None) -> None:
    act = act_of(rule=rule, halting=halting)
    optimizee = problems("regression")
    for name, gradient in gradients(act.loss(act.unroll(optimizee)), act).items():
        assert float(gradient.abs().max()) > 0, name
    assert any(weight.requires_grad for weight in act.parameters())


@pytest.mark.parametrize("objective_name", ["sum-of-losses", "log-loss", "ponder-cost"])
def test_other_objectives_train_every_weight(objective_name: str, double: None) -> None:
    halting = "graves" if objective_name == "ponder-cost" else "none"
    built = objective(objective=objective_name, halting=halting)
    for name, gradient in gradients(built.loss(built.unroll(problems("regression"))), built).items():
        assert float(gradient.abs().max()) > 0, name


def test_ponder_cost_by_hand(double: None) -> None:
    built = objective(halting="graves", ponder_cost=0.3)
    rollout = built.unroll(problems("regression"))
    q = built.belief(rollout)
    assert q is not None
    total = 0.0
    hazard = torch.sigmoid(q.logits.detach())
    for problem in range(NUM):
        spent, steps, expected = 0.0, 0, 0.0
        for t in range(HORIZON):
            steps = t + 1
            if spent + float(hazard[t, problem]) >= 0.99 or t == HORIZON - 1:
                break
            expected += float(hazard[t, problem] * rollout.nll[t + 1, problem].detach())
            spent += float(hazard[t, problem])
        remainder = 1 - spent
        total += expected + remainder * float(rollout.nll[steps, problem].detach()) + 0.3 * (steps + remainder)
    assert float(built.loss(rollout).detach()) == pytest.approx(total / NUM)


def test_sum_of_losses_by_hand() -> None:
    built = objective(halting="none")
    rollout = built.unroll(problems("quadratic"))
    assert float(built.loss(rollout).detach()) == pytest.approx(
        float(sum(rollout.nll[t].detach().mean() for t in range(1, HORIZON + 1)))
    )


def test_diverged_problems_are_left_out(double: None) -> None:
    act = act_of()
    rollout = act.unroll(problems("quadratic"))
    nll = rollout.nll.clone()
    nll[4:, 0] = torch.inf
    broken = rollout._replace(nll=nll).finite()
    assert broken.nll.shape[1] == NUM - 1
    kept: Tensor = act.loss(
        Rollout(rollout.nll[:, 1:], rollout.features[:, 1:], {name: p[1:] for name, p in rollout.params.items()})
    )
    torch.testing.assert_close(act.loss(broken), kept)


def test_refusals() -> None:
    prior = Prior(0.9, 3)
    rule = RULES["sgd"]()
    with pytest.raises(ValueError, match="expected a halting posterior, got none"):
        ACT(rule, None, prior)
    with pytest.raises(ValueError, match="infer_horizon needs T enumerated"):
        act_of(estimator="sample", infer_horizon=True)
    with pytest.raises(ValueError, match="halting_first needs T enumerated"):
        act_of(estimator="sample", halting_first=True)
    with pytest.raises(ValueError, match="expected infer_horizon or halting_first, got both"):
        act_of(infer_horizon=True, halting_first=True)
    act = act_of()
    with pytest.raises(ValueError, match="kl_scale > 0, got 0"):
        ACT(act.rule, act.posterior, prior, kl_scale=0.0)
    with pytest.raises(ValueError, match="unknown estimator 'gibbs': choose from enumerate, collapse, sample"):
        ACT(act.rule, act.posterior, prior, estimator="gibbs")
    with pytest.raises(ValueError, match=r"expected a halting posterior with N and R \(graves\), got softmax"):
        objective(objective="ponder-cost", halting="softmax")
