"""The coordinate-wise LSTM optimizer."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from probact.optimizees.base import Params, flatten, unflatten
from probact.registry import RULES
from probact.rules.base import State, Step, UpdateRule


def log_and_sign(grads: Tensor, p: float = 10.0) -> Tensor:
    """Two inputs for each gradient entry, shape ``(2, *)`` (Andrychowicz et al. 2016, appendix A).

    (log|g| / p, sign g) where |g| >= e^-p, else (-1, e^p g).
    """
    magnitude = grads.abs()
    large = magnitude >= math.exp(-p)
    log = torch.log(magnitude.clamp_min(math.exp(-p))) / p
    sign = torch.where(large, grads.sign(), math.exp(p) * grads)
    return torch.stack([torch.where(large, log, -1.0), sign])


class LSTMCell(nn.Module):
    """LSTM cell with coordinates last: ``nn.LSTMCell``'s formula on ``(features, n)`` in place of ``(n, features)``.

    Each gate is then one contiguous block, which the pointwise work runs through about twice as fast.  Gates in the
    order input, forget, output, cell; Hochreiter and Schmidhuber 1997, Gers et al. 2000.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        bound = hidden_size**-0.5
        self.weight = nn.Parameter(torch.empty(4 * hidden_size, input_size + hidden_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(4 * hidden_size, 1))
        with torch.no_grad():
            self.bias[hidden_size : 2 * hidden_size] = 1.0  # remember, to begin with

    def forward(self, inputs: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """``inputs (I, n)``, ``hidden`` and ``cell`` ``(H, n)`` -> the next hidden and cell."""
        size = len(hidden)
        gates = torch.addmm(self.bias, self.weight, torch.cat([inputs, hidden]))
        opening, candidate = gates.split([3 * size, size])
        let_in, keep, let_out = torch.sigmoid(opening).chunk(3)
        cell = keep * cell + let_in * torch.tanh(candidate)
        return let_out * torch.tanh(cell), cell


@RULES.register("lstm")
class CoordinatewiseLSTM(UpdateRule):
    """Coordinate-wise LSTM: one small network moves every coordinate, each with a state of its own.

    gradient -> log and sign -> ``num_layers`` LSTM cells -> linear without bias, times ``scale``.  The forget gates'
    bias starts at 1.  Features for halting: mean and mean square of the last hidden state over the coordinates,
    F = 2 ``hidden_size``.  Andrychowicz et al. 2016, section 2.1 and appendix A.
    """

    def __init__(self, hidden_size: int = 20, num_layers: int = 2, scale: float = 1.0) -> None:
        super().__init__()
        if hidden_size < 1 or num_layers < 1:
            raise ValueError(
                f"rule 'lstm': expected hidden_size and num_layers >= 1, got {hidden_size} and {num_layers}"
            )
        self.hidden_size = hidden_size
        self.scale = scale
        self.num_features = 2 * hidden_size
        sizes = [2] + [hidden_size] * num_layers
        self.cells = nn.ModuleList(LSTMCell(a, b) for a, b in pairwise(sizes))
        self.output = nn.Linear(hidden_size, 1, bias=False)

    def init(self, params: Params) -> State:
        flat = flatten(params)
        zero = flat.new_zeros(self.hidden_size, *flat.shape).movedim(1, 0)
        return tuple((zero, zero) for _ in self.cells)

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        flat = flatten(grads)
        hidden = log_and_sign(flat).flatten(1)
        new_state = []
        for cell, memory in zip(self.cells, state, strict=True):
            # The state is kept as (L, hidden, d), a view of the (hidden, L d) that the cells work on.
            before, carried = (part.movedim(0, 1).flatten(1) for part in memory)
            hidden, carried = cell(hidden, before, carried)
            new_state.append(tuple(part.unflatten(1, flat.shape).movedim(1, 0) for part in (hidden, carried)))
        update = self.scale * (self.output.weight @ hidden).view_as(flat)
        by_problem = hidden.unflatten(1, flat.shape)
        features = torch.cat([by_problem.mean(-1), by_problem.square().mean(-1)]).T
        return Step(unflatten(update, params), tuple(new_state), features)
