"""A stop is asked for, is said, and is advice; a loss that stays lost ends in an error."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from probact import Budget, Cumulative, Hazard, LearnedOptimizer, Patience, StopRule
from probact.rules.base import RULES
from tests.helpers.checks import objective
from tests.helpers.loops import Regression, descend

GOES_ON = "fired at step 3, and steps go on: leave the loop where should_stop"


def test_the_stop_is_advice_and_stepping_on_is_said_once() -> None:
    loop = Regression(stop=Budget(3))
    loop.run(3)
    assert not loop.optimizer.should_stop()
    before = loop.model.weight.detach().clone()
    loop.run(1)
    assert loop.optimizer.should_stop()
    assert torch.equal(loop.model.weight, before)
    with pytest.warns(UserWarning, match=GOES_ON) as caught:
        loop.run(1)
    assert caught[0].filename == loop.run.__globals__["descend"].__code__.co_filename
    assert not torch.equal(loop.model.weight, before)
    loop.run(3)  # says nothing more
    assert loop.optimizer.should_stop()
    assert loop.optimizer.num_steps == 7


def test_it_goes_on_as_if_nothing_had_stopped() -> None:
    """The look at which the stop fired is made again, and all is as without a stop."""
    stopping, endless = Regression(stop=Budget(3)), Regression()
    stopping.run(4)
    with pytest.warns(UserWarning, match=GOES_ON):
        found = stopping.run(5)
    assert endless.run(8)[3:] == found


def test_frozen_where_that_is_asked_for() -> None:
    loop = Regression(stop=Budget(3), freeze_when_stopped=True)
    losses = loop.run(8)
    assert losses[3:] == [losses[3]] * 5
    assert loop.optimizer.num_steps == 3


@pytest.mark.parametrize("name", ["subspace-mlp", "lstm-regression"])
def test_never(name: str) -> None:
    """Neither the posterior's default nor the file's rule stops what is not to stop."""
    loop = Regression(name, stop=None)
    loop.run(60)
    assert not loop.optimizer.should_stop()
    assert loop.optimizer.num_steps == 60
    assert loop.optimizer.hazard is not None
    trained = objective(rule="adam")
    assert LearnedOptimizer([nn.Parameter(torch.ones(2))], trained.rule, trained.posterior, stop=None).stop is None


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("budget", Budget()), ("hazard=0.03", Hazard(0.03)), ("patience=7", Patience(7.0)), (Cumulative(), Cumulative())],
)
def test_by_name(asked: Any, expected: Any) -> None:
    trained = objective(rule="adam")
    stop = LearnedOptimizer([nn.Parameter(torch.ones(2))], trained.rule, trained.posterior, stop=asked).stop
    assert stop is not None
    assert stop.to_json() == expected.to_json()


class Scoreless:
    threshold = 3.0


class Endless:
    def score(self, known: Any, memory: Any) -> Any:
        return known.loss, memory


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ("patients", "'patients'"),
        ("", "''"),
        (20, "20"),
        (True, "True"),
        (lambda loss: False, "<function"),
        (Patience, r"the class Patience: make an object of it, Patience\(\)"),
        (Endless, r"the class Endless: make an object of it, Endless\(\)"),
        (Scoreless(), r"a Scoreless without score\(known, memory\)"),
        (Endless(), "a Endless without threshold"),
    ],
)
def test_what_is_no_stop(asked: Any, got: str) -> None:
    words = rf"stop: expected a stop rule such as Budget\(100\), NAME .* budget, .* 'own' \(the stop of .*, got {got}"
    with pytest.raises(ValueError, match=words):
        LearnedOptimizer([nn.Parameter(torch.ones(2))], RULES["adam"](), stop=asked)


@pytest.mark.parametrize("asked", ["budget=many", "budget=nan", "budget=0", "patience=-1", "patience=4,delta=1"])
def test_a_name_with_a_senseless_number(asked: str) -> None:
    with pytest.raises(ValueError, match=f"stop: stop rule '{asked.partition('=')[0]}'"):
        LearnedOptimizer([nn.Parameter(torch.ones(2))], RULES["adam"](), stop=asked)


class Plain(StopRule):
    """Not registered."""

    def score(self, known: Any, memory: Any) -> Any:
        return torch.full_like(known.loss, known.step), memory


class Other(Budget):
    """Not registered, of a class that is."""


@pytest.mark.parametrize(("kind", "name"), [(Plain, "Plain"), (Other, "Other")])
def test_a_stop_rule_that_is_not_registered_has_the_name_of_its_class(kind: type[StopRule], name: str) -> None:
    loop = Regression(stop=kind(3.0))
    loop.run(4)
    assert loop.optimizer.should_stop()
    with pytest.warns(UserWarning, match=GOES_ON):
        loop.run(1)
    stop = loop.optimizer.stop
    assert stop is not None
    assert stop.spelled() == f"{name}=3"
    assert loop.optimizer.state_dict()["param_groups"][0]["standing"]["stop"] == {"name": name, "threshold": 3.0}


class Unsure(Plain):
    """NaN from the second step on."""

    def score(self, known: Any, memory: Any) -> Any:
        return torch.full_like(known.loss, math.nan if known.step > 1 else 0.0), memory


def test_a_score_of_nan_is_an_error() -> None:
    loop = Regression(stop=Unsure(3.0))
    with pytest.raises(ValueError, match=r"stop rule 'Unsure': score: expected a number .* got NaN at step 2"):
        loop.run(4)


@pytest.mark.parametrize("rule", [{"safeguard": True}, {"safeguard": False}])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_bad_batch_does_no_harm(rule: dict[str, bool], bad: float) -> None:
    weights = [nn.Parameter(torch.zeros(4)) for _ in range(2)]
    for weight, num_bad in zip(weights, (0, 1), strict=True):
        optimizer = LearnedOptimizer([weight], RULES["adam"](), **rule)
        descend(optimizer, lambda weight=weight: (weight - 1).square().sum(), 5)
        descend(optimizer, lambda weight=weight: bad * weight.sum(), num_bad)
        descend(optimizer, lambda weight=weight: (weight - 1).square().sum(), 5)
        assert optimizer.num_steps == 10
    assert torch.equal(*weights)


@pytest.mark.parametrize("safeguard", [True, False])
def test_a_lasting_one_is_an_error(safeguard: bool) -> None:
    weight = nn.Parameter(torch.ones(4))
    optimizer = LearnedOptimizer([weight], RULES["adam"](), safeguard=safeguard, patience_for_nan=7)
    descend(optimizer, lambda: weight.square().sum(), 3)
    with pytest.raises(FloatingPointError, match=r"from step 3 on: the loss \(nan\) was not finite 7 times in a row"):
        descend(optimizer, lambda: (weight - 3).log().sum(), 50)
    assert weight.isfinite().all()


def test_lost_gradients_and_endless_patience() -> None:
    weight = nn.Parameter(torch.zeros(4))
    optimizer = LearnedOptimizer([weight], RULES["sgd"](), patience_for_nan=2)
    with pytest.raises(FloatingPointError, match="from step 0 on: the gradient of parameter 0 was not finite 2 times"):
        descend(optimizer, lambda: weight.sqrt().sum(), 3)
    optimizer = LearnedOptimizer([weight], RULES["sgd"](), patience_for_nan=None)
    descend(optimizer, lambda: weight.sqrt().sum(), 150)


@pytest.mark.parametrize("patience", [0, -1, 1.5, math.inf, math.nan, True, "a", [7]])
def test_a_senseless_patience_for_nan(patience: Any) -> None:
    with pytest.raises(ValueError, match="patience_for_nan: expected a whole number >= 1 of steps, or None, got "):
        LearnedOptimizer([nn.Parameter(torch.zeros(4))], RULES["sgd"](), patience_for_nan=patience)


def test_what_is_no_rule() -> None:
    weight = nn.Parameter(torch.zeros(4))
    for wrong in (torch.optim.Adam([weight]), RULES["adam"], "adam"):
        with pytest.raises(ValueError, match=r"expected a rule such as RULES.build\('adam'\), an UpdateRule"):
            LearnedOptimizer([weight], wrong)  # type: ignore[arg-type]


class Third:
    """No ``StopRule``, but has what one has."""

    threshold = 3.0

    def score(self, known: Any, memory: Any) -> Any:
        return torch.full_like(known.loss, known.step), memory


class ThirdCounted(Third):
    """Counts by itself; ``start`` as it was called in 0.1.0."""

    def start(self, like: Any) -> Any:
        return torch.zeros_like(like)

    def score(self, known: Any, memory: Any) -> Any:
        return memory + 1, memory + 1


@pytest.mark.parametrize("own", [Third(), ThirdCounted()])
def test_a_stop_that_is_like_a_stop_rule(own: Any) -> None:
    loop = Regression(stop=own)
    loop.run(3)
    assert not loop.optimizer.should_stop()
    loop.run(1)
    assert loop.optimizer.should_stop()
    assert "standing" in loop.optimizer.state_dict()["param_groups"][0]


@pytest.mark.parametrize("name", ["subspace-mlp", pytest.param("subspace-regression", marks=pytest.mark.slow)])
def test_the_stop_of_a_shipped_one_knows_no_units(name: str) -> None:
    def stopped_at(unit: float) -> int:
        torch.manual_seed(0)
        layer = nn.Linear(6, 1).double()
        inputs = torch.randn(256, 6, dtype=torch.float64)
        targets = inputs.sum(1, keepdim=True) + torch.randn(256, 1, dtype=torch.float64)
        optimizer = LearnedOptimizer.from_pretrained(layer.parameters(), name)
        for step in range(2000):
            rows = torch.arange(16) + 16 * (step % 16)
            optimizer.zero_grad()
            loss = unit * (layer(inputs[rows]) - targets[rows]).square().mean()
            loss.backward()
            optimizer.step(loss=loss)
            if optimizer.should_stop():
                break
        return optimizer.num_steps

    steps = [stopped_at(unit) for unit in (2.0**-30, 2.0**20)]
    assert max(steps) < 1900
    assert max(steps) <= 1.5 * min(steps)
