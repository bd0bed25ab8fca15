"""Sums of digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch.nn import functional as F

from probact.problems.base import FAMILIES, OptimizeeFamily
from probact.problems.labelled import Labelled, check_size, filled_places, read_counts
from probact.problems.parity import Parity
from probact.support.refusals import check_range
from probact.support.sight import Sight


@FAMILIES.register("addition")
class Addition(OptimizeeFamily):
    """``n`` places, some of them filled with a digit 1 to ``largest``: their sum; for networks that compute.

    As many places as ``numbers`` says, LOW:HIGH, drawn uniformly, are filled (by default 1 to n).  A place is one
    number for each of the digits 0 to ``largest``, 1 at its own and 0 elsewhere; all are 0 of a blank one.  The sum is
    one of n ``largest`` + 1 classes.  A small form of Graves 2016, arXiv 1603.08983, section 3.3, whose numbers have
    several digits.
    """

    shows: ClassVar[tuple[Sight, ...]] = Labelled.shows
    recommended: ClassVar[Mapping[str, Any]] = {
        **Parity.recommended,
        "horizon": 8,
        "kl_scale": 0.3,
        "lr": 0.01,
        "meta_steps": 1200,
        "curriculum": 100,
    }

    def __init__(self, n: int = 5, numbers: str = "", largest: int = 5) -> None:
        check_size(self.label, n)
        check_range(self.label, at_least=1, below=100, largest=largest)
        self.n, self.largest = n, largest
        self.counts = read_counts(numbers, n, f"{self.label}: numbers")

    def sample(self, num: int, generator: torch.Generator) -> Labelled:
        filled = filled_places(num, self.n, self.counts, generator)
        digits = torch.where(filled, torch.randint(1, self.largest + 1, filled.shape, generator=generator), 0)
        places = F.one_hot(digits, self.largest + 1) * filled.unsqueeze(-1)
        answer = torch.zeros(num, self.n * self.largest + 1)
        return Labelled({"answer": answer}, places.to(answer.dtype), digits.sum(1), filled.sum(1))
