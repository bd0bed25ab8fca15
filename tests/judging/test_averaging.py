"""Averaging over the halting step, by brute force and by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from probact import FAMILIES, RULES
from probact.judging.averaging import predict, score, weights_of_steps
from probact.judging.trajectory import record
from probact.problems.base import HELD_OUT_ROWS, Labels
from probact.testing.small import objective, problems
from probact.unrolling.walk import Walk

PREDICTS = ("logistic-mixed", "breast-cancer", "digits", "digits-mixed", "mnist")


def test_log_loss_accuracy_and_calibration_by_hand() -> None:
    said = Labels(
        torch.tensor(
            [[[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]], [[0.3, 0.7], [0.95, 0.05], [0.5, 0.5]]], dtype=torch.float64
        ),
        torch.tensor([[0, 0, -1], [1, 0, -1]]),
    )
    found = score(said)
    expected = [-(math.log(0.9) + math.log(0.4)) / 2, -(math.log(0.7) + math.log(0.95)) / 2]
    assert found.log_loss.tolist() == pytest.approx(expected)
    assert found.accuracy.tolist() == [0.5, 1.0]
    # Confidences .9, .6, .7 and .95: each in a bin of its own but for none.
    assert found.calibration_error == pytest.approx((0.1 + 0.6 + 0.3 + 0.05) / 4)


def test_a_certain_mistake_is_costly_but_a_number() -> None:
    said = Labels(torch.tensor([[[1.0, 0.0]]], dtype=torch.float64), torch.tensor([[1]]))
    assert 500 < float(score(said).log_loss) < math.inf


@pytest.mark.parametrize("family", PREDICTS)
def test_one_step_alone_predicts_as_it_does(family: str) -> None:
    """All weight on one step, step by step: what the parameters there say of the held-out labels."""
    optimizee, rule = problems(family, 3), RULES["sgd"](lr=0.05)
    weights = {str(step): torch.zeros(4, 3, dtype=torch.float64) for step in range(1, 5)}
    for step, of_steps in weights.items():
        of_steps[int(step) - 1] = 1
    found = predict(rule, optimizee, weights)
    assert found is not None
    with torch.no_grad():
        walk = Walk(rule, optimizee)
        for step in range(1, 5):
            walk.move()
            said = optimizee.held_out_labels(walk.params)
            assert said is not None
            alone = score(Labels(said.probabilities.double(), said.labels))
            assert torch.allclose(found[str(step)].log_loss, alone.log_loss)
            assert torch.equal(found[str(step)].accuracy, alone.accuracy)


@pytest.mark.parametrize("family", PREDICTS)
def test_held_out_labels_are_probabilities_of_rows_not_seen(family: str) -> None:
    optimizee = problems(family, 3)
    said = optimizee.held_out_labels(optimizee.theta0)
    assert said is not None
    assert torch.allclose(said.probabilities.sum(-1), torch.ones(said.labels.shape))
    assert 0 < said.labels.shape[1] <= HELD_OUT_ROWS
    assert int(said.labels.max()) < said.probabilities.shape[-1]
    score = optimizee.test_score(optimizee.theta0)
    if family.startswith("digits"):  # x is among the test rows there
        assert (said.labels == -1).any(1).all()
    if family == "breast-cancer":
        assert score is not None
        accuracy = (said.probabilities.argmax(-1) == said.labels).float().mean(1)
        assert torch.allclose(accuracy, score.accuracy.float(), atol=1e-6)


@pytest.mark.parametrize("family", ["regression", "quadratic", "digits-autoencoder"])
def test_what_predicts_no_labels(family: str) -> None:
    optimizee = problems(family, 3)
    assert optimizee.held_out_labels(optimizee.theta0) is None
    assert predict(RULES["sgd"](lr=0.1), optimizee, {"all": torch.ones(2, 3)}) is None


def test_rows_that_all_were_seen_predict_nothing() -> None:
    optimizee: Any = problems("digits", 2)
    everything = torch.arange(len(optimizee.data.tensors[3])).expand(2, -1)
    optimizee = replace(optimizee, observed=everything)
    said = optimizee.held_out_labels(optimizee.theta0)
    assert bool((said.labels < 0).all())
    assert predict(RULES["sgd"](lr=0.1), optimizee, {"all": torch.ones(2, 2)}) is None


def test_held_out_rows_differ_from_call_to_call_and_take_no_random_numbers() -> None:
    family, generator = FAMILIES.build("logistic-mixed"), torch.Generator().manual_seed(0)
    first = family.sample(3, generator)
    state = generator.get_state()
    second = family.sample(3, generator)
    white = [one.new_design / one.new_design.square().mean((1, 2), keepdim=True).sqrt() for one in (first, second)]
    assert not torch.allclose(white[0][..., 0], white[1][..., 0], atol=1e-3)
    again = torch.Generator().manual_seed(0)
    assert torch.equal(family.sample(3, again).new_design, first.new_design)
    assert torch.equal(again.get_state(), state)


def test_the_weights_are_the_distributions_they_are_named_by() -> None:
    one = objective(family="logistic-mixed", horizon=9)
    path = record(one.rule, problems("logistic-mixed", 4), 9, one.posterior)
    stop, cost = torch.tensor([1, 4, 9, 2]), 0.3
    found = weights_of_steps(path, stop, cost)
    for of_steps in found.values():
        assert of_steps.shape == (9, 4)
        assert torch.allclose(of_steps.sum(0), torch.ones(4, dtype=of_steps.dtype))
    assert found["at the stop"].argmax(0).tolist() == [0, 3, 8, 1]
    mass, left = torch.zeros(9, 4), torch.ones(4)
    for step, known in enumerate(path.known):
        assert known.hazard is not None
        mass[step] = left * (known.hazard.float() if step < 8 else 1.0)
        left = left - mass[step]
    assert torch.allclose(found["averaged over q(t|x)"].float(), mass, atol=1e-5)
    exact = torch.exp(-path.nll[1:] - cost * torch.arange(1, 10).unsqueeze(-1))
    assert torch.allclose(found["averaged over the exact posterior"], exact / exact.sum(0))
    tempered = exact ** (1 / 8)  # at the KL scale that q was trained at
    again = weights_of_steps(path, stop, cost, 8.0)["averaged over the exact posterior"]
    assert torch.allclose(again, tempered / tempered.sum(0))


def test_averaging_is_a_mixture_of_the_steps() -> None:
    optimizee, rule = (
        FAMILIES.build("logistic-mixed").sample(5, torch.Generator().manual_seed(0)),
        RULES["adam"](lr=0.1),
    )
    weights = torch.rand(6, 5, dtype=torch.float64)
    weights = weights / weights.sum(0)
    found = predict(rule, optimizee, {"all": weights})
    assert found is not None
    with torch.no_grad():
        walk, total = Walk(rule, optimizee), torch.zeros(5, 40, dtype=torch.float64)
        for step in range(6):
            walk.move()
            margin = torch.einsum("lnd,ld->ln", optimizee.new_design, walk.params["theta"]) * optimizee.new_labels
            total += weights[step].unsqueeze(-1) * torch.sigmoid(margin).double()
    assert torch.allclose(found["all"].log_loss, -total.log().mean(1), atol=1e-6)
