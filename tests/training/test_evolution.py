"""PES: an unbiased gradient of the smoothed objective, whichever it is."""

from __future__ import annotations

from itertools import islice, repeat
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from probact.inference.objectives.base import Objective
from probact.rules.base import RULES, Step, UpdateRule
from probact.runs.assembly import build_objective
from probact.runs.experiment import Experiment
from probact.support.randomness import random_stream
from probact.support.trees import Params, State, map_params
from probact.training import evolution
from probact.training.copies import Copies, trainable
from probact.training.evolution import evolve, held, perturbations
from probact.training.meta_training import MetaTraining
from probact.unrolling.rollout import unroll
from tests.helpers.checks import problems
from tests.helpers.trainings import same, tiny

HORIZON, SEGMENT, SIGMA, RATE, CURVATURE = 6, 2, 0.2, 0.3, 1.0
LEARNED = [name for name in RULES if trainable(RULES[name]()) and RULES[name].is_one_graph]


class Rate(UpdateRule):
    """-w g with one weight w, so that theta_t = prod_s (1 - a w_s) theta_0 on a theta^2 / 2."""

    num_features = 2

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(RATE))

    def init(self, params: Params) -> State:
        return ()

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        return Step(map_params(lambda grad: -self.rate * grad, grads), state, loss.new_zeros(len(loss), 2))


def _built(**settings: Any) -> Objective:
    given = {"halting": "none", "horizon": HORIZON, "prior_nu": 0.7, "rule_options": {"hidden_size": 1}}
    built = build_objective(Experiment.create(**{**given, **settings})).to(torch.get_default_dtype())
    built.rule = Rate()
    return built


def _alike(num: int) -> Any:
    """``num`` times a theta^2 / 2 from theta_0 = 1: ||W theta||^2 with W = sqrt(a / 2)."""
    optimizee = problems("quadratic", num, dim=1)
    optimizee.design[:], optimizee.target[:] = (CURVATURE / 2) ** 0.5, 0.0  # type: ignore[attr-defined]
    optimizee.theta0["theta"][:] = 1.0
    return optimizee


def _smoothed(rate: Tensor) -> Tensor:
    """E of the sum of losses, in closed form: by Gauss-Hermite quadrature, exact for these polynomials."""
    nodes, weights = (torch.tensor(array) for array in np.polynomial.hermite_e.hermegauss(30))
    weights = weights / weights.sum()
    factor = 1 - CURVATURE * (rate + SIGMA * nodes)
    total, passed = torch.zeros(()), torch.ones(())
    for _ in range(HORIZON // SEGMENT):
        moments = [(weights * factor ** (2 * step)).sum() for step in range(1, SEGMENT + 1)]
        total = total + 0.5 * CURVATURE * passed * sum(moments)
        passed = passed * moments[-1]
    return total


def _estimates(built: Objective, num: int = 4000, repeats: int = 12, **settings: Any) -> Tensor:
    """Independent ones of the gradient of every weight."""
    found = []
    for index in range(repeats):
        noise = perturbations(built.rule, num, range(num), random_stream("perturbations", 0, index))
        loss, _ = evolve(built, _alike(num), noise, **{"sigma": SIGMA, "segment": SEGMENT, **settings})
        found.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(built.parameters()))]))
    return torch.stack(found)


def _off(estimates: Tensor, expected: Tensor) -> Tensor:
    """How many standard errors the mean is off."""
    return (estimates.mean(0) - expected).abs() / (estimates.std(0) / len(estimates) ** 0.5)


def test_it_is_the_gradient_of_the_smoothed_loss(double: None) -> None:
    rate = torch.tensor(RATE, requires_grad=True)
    (exact,) = torch.autograd.grad(_smoothed(rate), rate)
    estimates = _estimates(_built())
    assert float(_off(estimates, exact)) < 3.5
    assert float(estimates.std() / len(estimates) ** 0.5) < 0.02 * float(exact.abs())
    sharp = rate.detach().clone().requires_grad_()
    decay = 1 - CURVATURE * sharp
    plain = 0.5 * CURVATURE * sum(decay ** (2 * step) for step in range(1, HORIZON + 1))
    assert float(_off(estimates, torch.autograd.grad(plain, sharp)[0])) > 10  # smoothing shows


def test_without_accumulation_it_is_biased(double: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: truncated evolution strategies credit a perturbation with its own segment alone."""
    rate = torch.tensor(RATE, requires_grad=True)
    (exact,) = torch.autograd.grad(_smoothed(rate), rate)
    monkeypatch.setattr(evolution, "_credit", lambda values: values.diff(dim=0))
    assert float(_off(_estimates(_built()), exact)) > 10


@pytest.mark.parametrize("segment", [1, 2, None])
@pytest.mark.parametrize(
    "settings",
    [
        {"objective": "log-loss"},
        {"halting": "stick-breaking", "log_loss_weight": 0.5},
        {"halting": "softmax", "halting_first": True},
        {"halting": "truncated", "infer_horizon": True},
    ],
)
def test_with_little_noise_it_is_the_gradient_of_any_objective(
    settings: dict[str, Any], segment: int | None, double: None
) -> None:
    """Of the rule's weight by a central difference, of the head's by backpropagation."""
    built, optimizee = _built(**settings), _alike(1)
    if built.posterior is not None:
        with torch.no_grad():
            built.posterior.output.weight.mul_(10.0)
    heads = [] if built.posterior is None else list(built.posterior.parameters())
    value = built.totals(unroll(built.rule, optimizee, HORIZON)).sum()
    expected = [g.flatten() for g in torch.autograd.grad(value, heads)] if heads else []
    with torch.no_grad():
        ends = []
        for step in (1e-5, -1e-5):
            built.rule.rate.fill_(RATE + step)  # type: ignore[operator, union-attr]
            ends.append(float(built.totals(unroll(built.rule, optimizee, HORIZON))))
        built.rule.rate.fill_(RATE)  # type: ignore[operator, union-attr]
    exact = torch.tensor([(ends[0] - ends[1]) / 2e-5])
    estimates = _estimates(built, num=200, repeats=8, sigma=1e-4, segment=segment)
    assert float(_off(estimates[:, :1], exact)) < 4
    assert float(estimates[:, 0].std() / 8**0.5) < 0.1 * float(exact.abs())
    if heads:
        torch.testing.assert_close(estimates[:, 1:].mean(0), torch.cat(expected), rtol=1e-3, atol=1e-6)


def test_a_sum_s_parts_are_its_segments_losses(double: None) -> None:
    """What the pair has in common cancels: plain PES."""
    built, optimizee = _built(), problems("quadratic", 4)
    with torch.no_grad():
        rollout = unroll(built.rule, optimizee, HORIZON)
        before = torch.stack([built.totals(held(rollout, end)) for end in (0, 2, 4, 6)])
    parts = (before[:, :2] - before[:, 2:]).diff(dim=0)
    segments = rollout.nll[1:].unflatten(0, (3, 2)).sum(1)
    torch.testing.assert_close(parts, segments[:, :2] - segments[:, 2:])
    assert bool((before[0, :2] - before[0, 2:] == (rollout.nll[0, :2] - rollout.nll[0, 2:]) * 0).all())


def test_held_unrolls_do_not_see_later_perturbations(double: None) -> None:
    rule, optimizee = RULES["lstm"](hidden_size=4), problems("quadratic", 6)
    with torch.no_grad():
        rollout = unroll(rule, optimizee, HORIZON)._replace(optimizee=None)  # the tables alone are compared
        changed = rollout._replace(nll=rollout.nll.clone(), features=rollout.features.clone())
        changed.nll[5:] += 1.0  # theta_5 follows from the look at theta_4, which is the next segment's
        changed.features[3:] += 1.0  # row 3 is seen at theta_4
    torch.testing.assert_close(held(changed, 4), held(rollout, 4), rtol=0, atol=0)
    assert not torch.equal(held(changed, 5).nll, held(rollout, 5).nll)


@pytest.mark.parametrize("name", LEARNED)
def test_copies_step_as_the_rules_that_they_are(name: str, double: None) -> None:
    """Every rule with weights that is one graph can be copied, and each copy walks as the rule with its weights."""
    rule, optimizee = RULES[name](), problems("digits", 2)
    rule.double()
    noise = next(perturbations(rule, 2, range(2), random_stream("perturbations", 0)))
    weights = {key: weight + 0.1 * noise[key] for key, weight in trainable(rule).items()}
    with torch.no_grad():
        together = unroll(Copies(rule, weights), optimizee, 4)
        for index in range(2):
            for key, weight in trainable(rule).items():
                weight.copy_(weights[key][index])
            alone = unroll(rule, optimizee.select(torch.tensor([index])), 4)
            torch.testing.assert_close(together.nll[:, index], alone.nll[:, 0])
            torch.testing.assert_close(together.features[:, index], alone.features[:, 0])


def _one_diverges() -> Any:
    optimizee = _alike(3)
    optimizee.theta0["theta"][1] = 1e200
    return optimizee


def test_a_pair_that_diverged_is_left_out(double: None) -> None:
    built = _built(objective="log-loss")
    noise = list(islice(perturbations(built.rule, 3, range(3), random_stream("perturbations", 0)), 3))
    loss, rollout = evolve(built, _one_diverges(), iter(noise), SIGMA, SEGMENT)
    assert rollout.nll.isinf().any(0).tolist() == [False, True, False]
    kept = [{name: eps[[0, 2]] for name, eps in segment.items()} for segment in noise]
    alone, _ = evolve(built, _alike(2), iter(kept), SIGMA, SEGMENT)
    torch.testing.assert_close(loss, alone)
    grads = [torch.autograd.grad(value, built.rule.parameters()) for value in (loss, alone)]
    torch.testing.assert_close(grads[0], grads[1])
    optimizee = _one_diverges()
    optimizee.theta0["theta"][:] = 1e200
    lost, _ = evolve(built, optimizee, iter(noise), SIGMA, SEGMENT)
    assert bool(lost.isnan())
    assert not lost.requires_grad


def test_either_copy_s_divergence_counts(double: None) -> None:
    """The first copy of the second problem goes straight to its optimum, the other one away from it."""
    noise = {"rate": torch.tensor([0.0, (1 - RATE) / SIGMA, 0.0])}
    built, optimizee = _built(objective="log-loss"), _alike(3)
    optimizee.theta0["theta"][1] = 10**153.9
    loss, rollout = evolve(built, optimizee, repeat(noise), SIGMA, SEGMENT)
    assert bool(loss.isfinite())
    assert float(rollout.nll[0, 1]) < 1e308
    assert rollout.nll.isinf().any(0).tolist() == [False, True, False]


SETTINGS = {"gradient": "pes", "truncate": 3}


@pytest.mark.parametrize("settings", [{}, {"halting": "none", "curriculum": 4}, {"rule": "subspace"}])
def test_a_run_that_continues_is_the_same_run(settings: dict[str, Any]) -> None:
    whole, first, second = (MetaTraining(tiny(**SETTINGS, **settings)) for _ in range(3))
    records = list(whole)
    assert all(record.skipped == 0 and record.diverged == 0 for record in records)
    list(islice(first, 3))
    second.load_state_dict(first.state_dict())
    list(second)
    assert same(whole.objective.state_dict(), second.objective.state_dict())
    assert same(whole.best_weights, second.best_weights)
    fresh = MetaTraining(tiny(**SETTINGS, **settings)).objective.state_dict()
    assert all(not torch.equal(weight, fresh[name]) for name, weight in whole.objective.state_dict().items())


def test_it_trains() -> None:
    settings = {"halting": "none", "objective": "log-loss", "batch": 64, "meta_steps": 30, "lr": 0.05}
    training = MetaTraining(tiny(**SETTINGS, **settings, validate_every=30, rule_options={"hidden_size": 4}))
    before = training.validate().loss
    list(training)
    assert training.best_validation < before - 0.1


def test_refusals() -> None:
    with pytest.raises(ValueError, match="gradient pes: expected a rule with weights, got 'sgd'"):
        MetaTraining(tiny(gradient="pes", rule="sgd"))
    with pytest.raises(ValueError, match="gradient: expected one of backprop, pes, got 'es'"):
        tiny(gradient="es")
    with pytest.raises(ValueError, match="expected gradient pes or imitate, got both"):
        tiny(gradient="pes", imitate="nag")
