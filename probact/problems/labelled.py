"""Inputs with a label: problems for networks that compute an answer step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent
from torch.nn import functional as F

from probact.problems.base import Labels, Optimizee, Score
from probact.support.refusals import check_range
from probact.support.sight import Sight
from probact.support.trees import Params


@dataclass(frozen=True)
class Labelled(Optimizee):
    """nll = -log softmax(answer)[label] in nats, of the one label of each of L inputs; the label is x.

    theta is ``{"answer": (L, C)}``, the logits of C classes: all 0 before the first step.

    :ivar places: ``(L, n, c)``: n places of c numbers each, 0 in those that are blank.
    :ivar label: ``(L,)`` int64 in 0..C-1.
    :ivar count: ``(L,)`` int64, how many places are not blank: the size of the problem.
    """

    shows: ClassVar[tuple[Sight, ...]] = (Sight.INPUT,)
    places: Tensor
    label: Tensor
    count: Tensor

    def given(self) -> Params:
        """The places, and the answer before the first step, which tells how many classes there are."""
        return {"places": self.places, **self.theta0}

    def nll(self, params: Params) -> Tensor:
        return F.cross_entropy(params["answer"], self.label, reduction="none")

    def predictive(self, params: Params) -> Distribution:
        return Independent(Categorical(logits=params["answer"].unsqueeze(1)), 1)

    def observations(self) -> Tensor:
        return self.label.unsqueeze(1)

    def size(self) -> Tensor:
        return self.count

    def test_score(self, params: Params) -> Score:
        right = params["answer"].argmax(-1) == self.label
        return Score(self.nll(params), right.to(self.places.dtype))

    def held_out_labels(self, params: Params) -> Labels:
        return Labels(params["answer"].softmax(-1).unsqueeze(1), self.label.unsqueeze(1))


def read_counts(text: str, most: int, what: str) -> tuple[int, int]:
    """The fewest and the most places that are filled, of ``LOW:HIGH`` or one number; 1 to ``most`` of ``""``.

    :raises ValueError: unless 1 <= LOW <= HIGH <= ``most``.
    """
    low, between, high = text.partition(":")
    try:
        ends = (int(low), int(high if between else low)) if text else (1, most)
    except ValueError:
        ends = (0, 0)
    if not 1 <= ends[0] <= ends[1] <= most:
        raise ValueError(f"{what}: expected LOW:HIGH with 1 <= LOW <= HIGH <= {most}, got {text!r}")
    return ends


def filled_places(num: int, size: int, counts: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Which of ``size`` places are filled, ``(num, size)`` bool: as many as ``counts`` says, uniform, anywhere."""
    low, high = counts
    count = torch.randint(low, high + 1, (num, 1), generator=generator)
    return torch.rand(num, size, generator=generator).argsort(-1).argsort(-1) < count


def check_size(what: str, size: int) -> None:
    """:raises ValueError: unless it is one of 2..1024 places."""
    check_range(what, at_least=2, below=1025, n=size)
