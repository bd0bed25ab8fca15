"""A search of one function on plain numbers, against the walk on tensors that training and judging take."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from probact.inference.posteriors.base import HaltingPosterior
from probact.rules.base import RULES, UpdateRule
from probact.rules.searches import SearchRule
from probact.searching.alone import SearchOfOne
from probact.searching.course import Course, SearchOfTensors
from probact.searching.told import Told
from probact.stopping.rules import Budget

COST = 0.05


def rule_of(name: str, options: dict[str, Any]) -> UpdateRule:
    """With weights that move queries."""
    torch.manual_seed(1)
    rule = RULES.build(name, options)
    for weight in rule.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return rule.double().requires_grad_(False)


def head_of(rule: UpdateRule, name: str = "stick-breaking") -> HaltingPosterior:
    torch.manual_seed(2)
    return HaltingPosterior.of(rule, name, 0.4).double().requires_grad_(False)


def f(point: list[float], step: int, lost: dict[int, float]) -> float:
    return lost.get(step, sum(math.sin(7 * x) + x for x in point))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gp-ei", {}),
        ("gp-ei", {"length": "mixed", "kernel": "matern52"}),
        ("gp-ei", {"noise": 0.1}),
        ("lstm-search", {}),
        ("lstm-search", {"unit": "known", "hidden_size": 8}),
    ],
)
@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("lost", [{}, {1: math.nan, 2: math.inf, 5: -math.inf}])
def test_it_is_the_walk_on_tensors(name: str, options: dict[str, Any], dim: int, lost: dict[int, float]) -> None:
    """Queries, hazards and gains, also where values are lost and where the user asked elsewhere."""
    rule = rule_of(name, options | ({"dim": dim} if name == "lstm-search" else {}))
    head, told = head_of(rule), Told.of(dim, 0.02, COST)
    with torch.inference_mode():
        walk, alone = SearchOfTensors(rule, told, head), Course(rule, head, told, None).walk
        assert isinstance(alone, SearchOfOne)
        for step in range(1, 19):
            query = walk.propose()
            np.testing.assert_allclose(alone.propose(), query, rtol=0, atol=1e-7)
            at = [0.3 + 0.1 * axis for axis in range(dim)] if step == 4 else query
            y = f(at, step, lost)
            expected, found = walk.answer(y, at), alone.answer(y, at)
            assert found.step == expected.step == step
            for part in ("loss", "hazard", "halted", "expected", "grad_norm"):
                torch.testing.assert_close(getattr(found, part), getattr(expected, part), rtol=1e-4, atol=1e-6)


def test_without_a_halting_posterior_nothing_is_told() -> None:
    course = Course(rule_of("lstm-search", {}), None, Told.of(1, 0.02, COST), Budget(2))
    assert isinstance(course.walk, SearchOfOne)
    course.take_in(1.0, course.propose())
    assert course.known is not None
    assert course.known.hazard is None
    assert course.score == 1.0


def test_a_search_without_that_form_goes_the_long_way() -> None:
    for rule, posterior in ((rule_of("random-search", {}), None), (Plain().double(), None)):
        course = Course(rule, posterior, Told.of(1, 0.02, COST), None)
        assert isinstance(course.walk, SearchOfTensors)
        course.take_in(1.0, course.propose())
        assert course.known is not None


def test_a_posterior_that_needs_the_whole_unroll_is_refused() -> None:
    rule = rule_of("lstm-search", {})
    with pytest.raises(ValueError, match="halting posterior 'softmax' needs the whole unroll"):
        Course(rule, head_of(rule, "softmax"), Told.of(1, 0.02, COST), None)


class Plain(SearchRule):
    """A search of a user's own, which says nothing of such a form."""

    step = RULES["random-search"].step  # type: ignore[assignment]
    init = RULES["random-search"].init  # type: ignore[assignment]
    seed = 0
