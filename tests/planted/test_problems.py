"""Families whose problems leak into each other, planted."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from torch import Tensor

from probact.problems.base import Optimizee
from probact.rules.base import RULES
from probact.support.trees import Params
from probact.unrolling.rollout import unroll
from tests.helpers.checks import assert_no_leak, problems

pytestmark = pytest.mark.usefixtures("double")


def leaks(optimizee: Optimizee, **methods: Any) -> None:
    """The check sees that ``methods`` of this optimizee leak, and passes it without them."""
    walk = partial(unroll, RULES["adam"](), horizon=5)
    assert_no_leak(walk, optimizee)
    faulty = type("Faulty", (type(optimizee),), methods)(**vars(optimizee))
    with pytest.raises(AssertionError):
        assert_no_leak(walk, faulty)


def test_a_loss_that_mixes_problems() -> None:
    optimizee = problems("regression")

    def nll(self: Optimizee, params: Params) -> Tensor:
        own = type(optimizee).nll(self, params)
        return 0.9 * own + 0.1 * own.mean()

    leaks(optimizee, nll=nll)


def test_a_minibatch_loss_that_mixes_problems() -> None:
    """The nll is sound: only what the optimizer descends is not."""
    optimizee = problems("digits", 3)

    def loss(self: Optimizee, params: Params, step: int) -> Tensor:
        own = type(optimizee).loss(self, params, step)
        return own * own.mean().detach()

    leaks(optimizee, loss=loss)


def test_a_problem_chosen_with_the_data_of_another() -> None:
    optimizee: Any = problems("regression")

    def select(self: Any, index: Tensor) -> Optimizee:
        return replace(type(optimizee).select(self, index), target=self.target[: len(index)])

    leaks(optimizee, select=select)
