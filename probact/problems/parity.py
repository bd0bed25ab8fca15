"""Parity of a vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from probact.problems.base import FAMILIES, OptimizeeFamily
from probact.problems.labelled import Labelled, check_size, filled_places, read_counts
from probact.support.sight import Sight


@FAMILIES.register("parity")
class Parity(OptimizeeFamily):
    """Vectors of ``n`` entries, some of them +1 or -1: whether the number of +1 is odd; for networks that compute.

    As many entries as ``nonzero`` says, LOW:HIGH, drawn uniformly, are +1 or -1 at random, the rest is 0 (by default
    1 to n; Graves 2016, arXiv 1603.08983, section 3.1).  Guessing costs log 2 nats.  How many are not 0 is the
    difficulty: no network that reads one entry a step can know the label before.
    """

    shows: ClassVar[tuple[Sight, ...]] = Labelled.shows
    recommended: ClassVar[Mapping[str, Any]] = {
        "rule": "gru-reader",
        "halting": "stick-breaking",
        "halting_first": True,
        "horizon_prior": "flat",
        "kl_scale": 0.1,
        "horizon": 20,
        "truncate": 0,
        "batch": 128,
        "lr": 5e-3,
        "meta_steps": 600,
        "curriculum": 200,
        "validate_every": 100,
        "validation_problems": 512,
        "test_problems": 2048,
    }

    def __init__(self, n: int = 16, nonzero: str = "") -> None:
        check_size(self.label, n)
        self.n, self.counts = n, read_counts(nonzero, n, f"{self.label}: nonzero")

    def sample(self, num: int, generator: torch.Generator) -> Labelled:
        filled = filled_places(num, self.n, self.counts, generator)
        positive = torch.rand(num, self.n, generator=generator) < 0.5
        entries = torch.where(filled, torch.where(positive, 1.0, -1.0), 0.0)
        label = (filled & positive).sum(1) % 2
        return Labelled({"answer": torch.zeros(num, 2)}, entries.unsqueeze(-1), label, filled.sum(1))
