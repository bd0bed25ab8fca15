"""An unroll that tells one problem about the others, planted."""

from __future__ import annotations

import pytest

from probact.problems.base import Optimizee
from probact.unrolling.rollout import Rollout
from tests.helpers.checks import assert_no_leak, objective, problems, rollout_of

pytestmark = pytest.mark.usefixtures("double")


def test_features_that_mix_problems() -> None:
    healthy = objective()
    assert_no_leak(healthy.unroll, problems("regression"))

    def leaking(optimizee: Optimizee) -> Rollout:
        rollout = rollout_of(healthy, optimizee)
        return rollout._replace(features=rollout.features - rollout.features.mean(1, keepdim=True))

    with pytest.raises(AssertionError):
        assert_no_leak(leaking, problems("regression"))
