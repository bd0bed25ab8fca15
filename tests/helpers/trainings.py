"""Trainings of a second."""

from __future__ import annotations

from typing import Any

import torch

from probact.runs.experiment import Experiment

TINY = {
    "family": "quadratic",
    "horizon": 6,
    "batch": 4,
    "meta_steps": 6,
    "validate_every": 2,
    "validation_problems": 4,
    "test_problems": 6,
}


def tiny(**settings: Any) -> Experiment:
    return Experiment.create(**{**TINY, **settings})


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
