"""A recurrent network that reads one place of its input a step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from probact.rules.base import RULES
from probact.rules.computation import Asked, Computation, confidence, widened
from probact.support.recurrent import gru_step
from probact.support.refusals import check_range
from probact.support.trees import Params

FILLED, READ = 4.0, 8.0
"""What a place gains by being filled, and loses by having been read, in the score of reading it next, at the start."""


class Reading(NamedTuple):
    """What a reader remembers.

    :ivar places: ``(L, n, c)``.
    :ivar size: of each place, ``(L, n)``: its largest number in absolute value; 0 of a blank one.
    :ivar own: the score of each place by what is in it, ``(L, n)``.
    :ivar read: how often each has been read, ``(L, n)``.
    :ivar hidden: ``(L, hidden)``.
    :ivar answer: of the right shape, ``(L, C)``.
    """

    places: Tensor
    size: Tensor
    own: Tensor
    read: Tensor
    hidden: Tensor
    answer: Tensor


@RULES.register("gru-reader")
class GRUReader(Computation):
    """GRU that reads one place of its input a step, the best that it has not read yet: for families such as ``parity``.

    score_i = f(place_i) + a size_i - b read_i, with size_i = max |place_i|, read_i how often place i has been read, and
    f a small network.  The place with the largest score is read, h_t = GRU(place, h_{t-1}) and answer_t = W h_t + b;
    backwards the choice counts as softmax(score) (straight-through; Bengio, Leonard, Courville 2013).  It begins with a
    preference for what is filled and not read, and learns the rest.  Its weights do not depend on n.  Features for
    halting: e^-u and log(1 + u) for what is unread, u = sum_i size_i [read_i = 0], and the answer's largest
    probability.
    """

    num_features = 4

    def __init__(self, hidden_size: int = 24, inputs: int = 10, outputs: int = 64) -> None:
        super().__init__()
        check_range(self.label, at_least=1, below=10_000, hidden_size=hidden_size, inputs=inputs, outputs=outputs)
        self.inputs, self.outputs = inputs, outputs
        self.score = nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, 1, bias=False))
        self.preference = nn.Parameter(torch.tensor([FILLED, READ]))
        self.cell = nn.GRUCell(inputs, hidden_size)
        self.read = nn.Linear(hidden_size, outputs)

    def start(self, given: Params) -> Reading:
        places, answer = Asked.of(given, self.label)
        widened(answer, self.outputs, f"{self.label}: outputs")
        size = places.abs().amax(-1)
        of_each = self.score(widened(places, self.inputs, f"{self.label}: inputs")).squeeze(-1)
        own = of_each + self.preference[0] * size
        hidden = places.new_zeros(len(places), self.cell.hidden_size)
        return Reading(places, size, own, torch.zeros_like(size), hidden, answer)

    def think(self, state: Reading) -> tuple[Reading, Tensor, Tensor]:
        place, read = self._chosen(state)
        hidden = self._remembered(place, state.hidden)
        num = state.answer.shape[1]
        answer = F.linear(hidden, self.read.weight[:num], self.read.bias[:num])
        unread = (state.size * (read == 0)).sum(-1, keepdim=True)
        wanted = (state.own - self.preference[1] * read).amax(-1, keepdim=True)
        features = torch.cat([4 * torch.exp(-unread), unread.log1p(), 4 * confidence(answer), wanted / 2], -1)
        return state._replace(read=read, hidden=hidden), answer, features

    def _chosen(self, state: Reading) -> tuple[Tensor, Tensor]:
        """The place that is read, ``(L, c)``, and how often each has been then."""
        score = state.own - self.preference[1] * state.read
        best = score.argmax(-1, keepdim=True)
        if not torch.is_grad_enabled():
            places, one = state.places, torch.ones_like(score[:, :1])
            place = places.gather(1, best.unsqueeze(-1).expand(-1, -1, places.shape[-1])).squeeze(1)
            return place, state.read.scatter_add(1, best, one)
        soft = score.softmax(-1)
        hard = F.one_hot(best.squeeze(-1), score.shape[-1]).to(soft)
        chosen = hard + soft - soft.detach()
        return (chosen.unsqueeze(1) @ state.places).squeeze(1), state.read + hard

    def _remembered(self, place: Tensor, hidden: Tensor) -> Tensor:
        """The next memory; what a narrow place leaves of the input's columns is 0."""
        of_input, *others = (getattr(self.cell, f"{kind}_{of}") for kind in ("weight", "bias") for of in ("ih", "hh"))
        return gru_step(place, hidden, (of_input[:, : place.shape[1]], *others))
