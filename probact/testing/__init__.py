"""Checks that a family, a rule or another part is what the package takes it for: of ours, and of your own.

Each takes a registered class and raises ``AssertionError``, in one line, if a property does not hold.
"""

from probact.testing.inference import (
    check_estimator as check_estimator,
    check_objective as check_objective,
    check_posterior as check_posterior,
)
from probact.testing.priors import (
    check_halting_prior as check_halting_prior,
    check_horizon_prior as check_horizon_prior,
)
from probact.testing.problems import check_family as check_family
from probact.testing.properties import assert_causal as assert_causal, assert_no_leak as assert_no_leak
from probact.testing.rules import check_rule as check_rule
from probact.testing.stopping import check_stop_rule as check_stop_rule
