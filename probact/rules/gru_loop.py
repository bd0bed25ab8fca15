"""A recurrent network that is fed the whole input at every step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from probact.rules.base import RULES
from probact.rules.computation import Asked, Computation, confidence, widened
from probact.support.refusals import check_range
from probact.support.trees import Params


class Looping(NamedTuple):
    """Its input ``(L, inputs)``, the hidden state ``(L, hidden)``, and an answer of the right shape, ``(L, C)``."""

    entries: Tensor
    hidden: Tensor
    answer: Tensor


@RULES.register("gru-loop")
class GRULoop(Computation):
    """GRU that is fed the same input at every step, with a linear readout: for families such as ``parity``.

    h_t = GRU(input, h_{t-1}), answer_t = W h_t + b; h_0 = 0 (Graves 2016, arXiv 1603.08983, section 3.1, with a GRU in
    place of its tanh network).  Problems of fewer numbers than ``inputs``, or of fewer classes than ``outputs``, use
    the first.  Features for halting: the hidden state and the largest probability of the answer.
    """

    def __init__(self, hidden_size: int = 128, inputs: int = 64, outputs: int = 64) -> None:
        super().__init__()
        check_range(self.label, at_least=1, below=10_000, hidden_size=hidden_size, inputs=inputs, outputs=outputs)
        self.inputs, self.outputs = inputs, outputs
        self.num_features = hidden_size + 1
        self.cell = nn.GRUCell(inputs, hidden_size)
        self.read = nn.Linear(hidden_size, outputs)

    def start(self, given: Params) -> Looping:
        places, answer = Asked.of(given, self.label)
        widened(answer, self.outputs, f"{self.label}: outputs")
        entries = widened(places.flatten(1), self.inputs, f"{self.label}: inputs")
        return Looping(entries, entries.new_zeros(len(entries), self.cell.hidden_size), answer)

    def think(self, state: Looping) -> tuple[Looping, Tensor, Tensor]:
        hidden = self.cell(state.entries, state.hidden)
        answer = self.read(hidden)[:, : state.answer.shape[1]]
        return state._replace(hidden=hidden), answer, torch.cat([hidden, confidence(answer)], -1)
