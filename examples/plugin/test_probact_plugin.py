"""The installed plug-in conforms: each part is found by its name, and is what probact takes it for."""

from probact import (
    ESTIMATORS,
    FAMILIES,
    HALTING_PRIORS,
    HORIZON_PRIORS,
    OBJECTIVES,
    POSTERIORS,
    RULES,
    STOP_RULES,
)
from probact.testing import (
    check_estimator,
    check_family,
    check_halting_prior,
    check_horizon_prior,
    check_objective,
    check_posterior,
    check_rule,
    check_stop_rule,
)


def test_family() -> None:
    check_family(FAMILIES["valleys"])
    check_family(FAMILIES["valleys"], dim=2)


def test_rule() -> None:
    check_rule(RULES["heavy-ball"])


def test_posterior() -> None:
    check_posterior(POSTERIORS["clock"])


def test_objective() -> None:
    check_objective(OBJECTIVES["discounted"], gamma=0.5)


def test_estimator() -> None:
    check_estimator(ESTIMATORS["stratified"])


def test_priors() -> None:
    check_horizon_prior(HORIZON_PRIORS["two-lengths"], longer=20.0)
    check_halting_prior(HALTING_PRIORS["late"])


def test_stop_rule() -> None:
    check_stop_rule(STOP_RULES["slope"])
