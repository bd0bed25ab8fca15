"""How many steps there are, and who is told."""

import math

import pytest
import torch

from probact.problems.base import FAMILIES
from probact.rules.base import RULES
from probact.rules.plan import GUESS, LEAST, MOST, Plan
from probact.rules.safeguarded import Safeguarded
from probact.unrolling.walk import Unrolling, Walk

TOTAL = torch.tensor([10.0, 4.0])


def test_the_factor_falls_on_a_line_and_stays_above_0() -> None:
    factors = torch.stack([Plan.of(TOTAL, made).factor for made in range(12)])
    for problem, total in enumerate(TOTAL.int().tolist()):
        line = [1 - made / total for made in range(total)]
        assert factors[:total, problem].tolist() == pytest.approx(line)
        assert factors[total:, problem].tolist() == pytest.approx([1 / total] * (12 - total))


def test_the_cosine_falls_from_1_and_stays_above_0() -> None:
    cosines = torch.stack([Plan.of(TOTAL, made).cosine for made in range(12)])
    for problem, total in enumerate(TOTAL.int().tolist()):
        curve = [(1 + math.cos(math.pi * made / total)) / 2 for made in range(total)]
        assert cosines[:total, problem].tolist() == pytest.approx(curve)
        assert cosines[total:, problem].tolist() == pytest.approx([curve[-1]] * (12 - total))
    assert Plan.unknown(TOTAL).cosine.tolist() == pytest.approx([1, 1])


def test_nobody_knows() -> None:
    plan = Plan.unknown(torch.zeros(3, 5))
    assert plan.factor.tolist() == [1, 1, 1]
    told, left, size = plan.signals(torch.tensor([1.0, 500.0, 5000.0])).unbind(-1)
    assert told.tolist() == [0, 0, 0]
    assert left.tolist() == [1, 1, 1]
    assert (size * math.log(1000)).exp().tolist() == pytest.approx([GUESS, 1000, MOST], rel=1e-4)


def test_far_more_steps_than_it_was_trained_for_count_as_the_most() -> None:
    """But for the share that is left, which is of all of them."""
    plan = Plan.of(torch.tensor([1e6]), 5e5)
    assert plan.expected(torch.zeros(1)).tolist() == [MOST]
    assert plan.factor.tolist() == [0.5]


def test_what_a_rule_is_told() -> None:
    total = torch.tensor([40.0, 1000.0, 4.0])
    told, left, size = Plan.of(total, 2).signals(torch.zeros(3)).unbind(-1)
    assert told.tolist() == [1, 1, 1]
    assert left.tolist() == pytest.approx([0.95, 0.998, 0.5])
    assert (size * math.log(1000)).exp().tolist() == pytest.approx([40, 1000, LEAST], rel=1e-4)


@pytest.mark.parametrize("safeguarded", [False, True])
def test_a_walk_tells_a_rule_that_plans(safeguarded: bool) -> None:
    rule = RULES.build("tensorwise")
    rule = Safeguarded(rule) if safeguarded else rule
    problems = FAMILIES.build("digits").sample(2, torch.Generator().manual_seed(0))
    walk = Walk(rule, problems, unrolling=Unrolling(total_steps=5))
    left = []
    for _ in range(6):
        walk.look()
        ahead = walk._next.state.state if safeguarded else walk._next.state  # type: ignore[union-attr]
        left.append(ahead.plan.left.tolist())
        walk.move()
    assert left == [[5, 5], [4, 4], [3, 3], [2, 2], [1, 1], [0, 0]]


def test_a_rule_that_does_not_plan_is_told_nothing() -> None:
    problems = FAMILIES.build("quadratic").sample(3, torch.Generator().manual_seed(0))
    ends = []
    for total in (None, 4):
        walk = Walk(RULES.build("adam"), problems, unrolling=Unrolling(total_steps=total))
        for _ in range(4):
            walk.move()
        ends.append(walk.params["theta"])
    torch.testing.assert_close(*ends, rtol=0, atol=0)
    assert not RULES.build("adam").plans
    assert RULES.build("tensorwise").plans
