"""A recomputed unroll: the values and the meta-gradient of the kept graph, without the graph."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from probact.problems.base import Optimizee
from probact.rules.base import RULES
from probact.runs.assembly import build_objective
from probact.runs.experiment import Experiment
from probact.support.randomness import random_stream
from probact.unrolling.rollout import unroll
from probact.unrolling.walk import Unrolling, Walk
from tests.helpers.checks import gradients, problems

HORIZON = 10


def _loss_and_gradients(settings: dict[str, Any], recompute: bool) -> list[Tensor]:
    experiment = Experiment.create(
        horizon=HORIZON, batch=3, infer_horizon=False, **settings, recompute=recompute, rule_options={"hidden_size": 4}
    )
    objective = build_objective(experiment)
    optimizee = experiment.build_family().sample(3, random_stream("train", 0)).to(torch.get_default_dtype())
    loss, rollout = objective(optimizee, 1.0, random_stream("horizon", 0))
    loss.backward()
    found = [weight.grad for weight in objective.parameters()]
    assert all(gradient is not None for gradient in found)
    return [loss.detach(), *rollout.params.values(), *(gradient for gradient in found if gradient is not None)]


@pytest.mark.parametrize("through_path", [False, True])
@pytest.mark.parametrize(
    ("family", "objective", "truncate"),
    [
        *(("quadratic", {"halting": "stick-breaking"}, truncate) for truncate in (0, 1, 4, HORIZON, 50)),
        *(
            ("quadratic", {"halting": "stick-breaking", "estimator": "sample"}, truncate)
            for truncate in (0, 4, HORIZON)
        ),
        *(("digits", {"halting": "graves"}, truncate) for truncate in (0, 4)),
        *(("digits", {"halting": "none"}, truncate) for truncate in (1, 4)),
    ],
)
def test_equals_the_kept_graph(
    family: str, objective: dict[str, Any], truncate: int, through_path: bool, double: None
) -> None:
    settings = {"family": family, **objective, "truncate": truncate, "through_path": through_path}
    for ours, expected in zip(_loss_and_gradients(settings, True), _loss_and_gradients(settings, False), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


def test_a_diverged_problem_leaves_the_others_gradient_alone(double: None) -> None:
    rule = RULES["lstm"](hidden_size=4)
    optimizee = problems("quadratic", 3)
    optimizee.theta0["theta"][1] = 1e200
    for recompute in (False, True):
        rollout = unroll(rule, optimizee, 6, Unrolling(2, through_path=True, recompute=recompute)).finite()
        assert rollout.nll.shape == (7, 2)
        ours = gradients(rollout.nll.sum(), rule)
        alone = unroll(rule, optimizee.select(torch.tensor([0, 2])), 6, Unrolling(2, through_path=True))
        for name, gradient in gradients(alone.nll.sum(), rule).items():
            torch.testing.assert_close(ours[name], gradient)


def _graph_size(tensor: Tensor) -> int:
    seen, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [parent for parent, _ in node.next_functions]
    return len(seen)


@pytest.mark.parametrize("truncate", [None, 4])
def test_the_graph_does_not_grow_with_the_horizon(truncate: int | None) -> None:
    rule = RULES["lstm"](hidden_size=4)

    def size(horizon: int, recompute: bool) -> int:
        unrolling = Unrolling(truncate, through_path=True, recompute=recompute)
        rollout = unroll(rule, problems("quadratic", 2), horizon, unrolling)
        return _graph_size(rollout.nll.sum() + rollout.features.sum())

    assert size(40, True) == size(5, True) < size(5, False) < size(40, False)


class Counting(Walk):
    furthest = 0

    def move(self) -> None:
        super().move()
        Counting.furthest = max(Counting.furthest, self.step)


def test_steps_without_a_gradient_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truncated: the second walk ends at the last step that any gradient reaches, a Graves posterior's N say."""
    monkeypatch.setattr("probact.unrolling.rollout.begin", Counting)
    unrolling = Unrolling(truncate=4, through_path=True, recompute=True)
    rollout = unroll(RULES["lstm"](hidden_size=4), problems("quadratic", 2), 30, unrolling)
    assert Counting.furthest == 30
    Counting.furthest = 0
    rollout.nll[:8].sum().backward()
    assert Counting.furthest == 7


def test_without_weights_or_gradient_mode_nothing_is_recomputed() -> None:
    optimizee: Optimizee = problems("quadratic", 2)
    assert not unroll(RULES["adam"](), optimizee, 3, Unrolling(recompute=True)).nll.requires_grad
    with torch.no_grad():
        assert not unroll(RULES["lstm"](), optimizee, 3, Unrolling(recompute=True)).nll.requires_grad
