"""Who sees which problems: held out for tests, apart for tuning, and at which steps they are reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from probact.problems.base import Optimizee
from probact.runs.experiment import Experiment
from probact.support.randomness import random_stream


def held_out_problems(experiment: Experiment, num: int | None = None, seed: int = 0) -> Optimizee:
    """Held-out problems of the experiment's family: no other stream of random numbers makes them."""
    family = experiment.build_family().for_tests
    return family.sample(num or experiment.test_problems, random_stream("test", seed)).to(experiment.device)


def reported_steps(horizon: int) -> list[int]:
    """1, 5, 10, 20, 50 and H, as far as H reaches."""
    return sorted({step for step in (1, 5, 10, 20, 50) if step < horizon} | {horizon})


def retarget(experiment: Experiment, family: str, options: Mapping[str, object]) -> Experiment:
    """The experiment on another family (its own sizes of test and tuning sets), or with other family options."""
    if family == experiment.family and not options:
        return experiment
    other = Experiment.create(family=family, family_options=dict(options))
    return replace(
        experiment,
        family=family,
        family_options=dict(options),
        validation_problems=other.validation_problems,
        test_problems=other.test_problems,
    )


def tuning_problems(experiment: Experiment, times: int = 4) -> Optimizee:
    """Problems of the family that no training, validation or test sees: ``times`` the validation problems."""
    num = times * experiment.validation_problems
    return experiment.build_family().sample(num, random_stream("tuning", 0)).to(experiment.device)
