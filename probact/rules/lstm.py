"""The coordinate-wise LSTM optimizer."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from probact.rules.base import RULES, Step, UpdateRule
from probact.support.refusals import check_range
from probact.support.trees import Params, State, flatten, unflatten

aten = torch.ops.aten


def log_and_sign(grads: Tensor, p: float = 10.0) -> Tensor:
    """Two inputs for each gradient entry, shape ``(2, *)`` (Andrychowicz et al. 2016, appendix A).

    (log|g| / p, sign g) where |g| >= e^-p, else (-1, e^p g): both are clamped at that edge.
    """
    scale = math.exp(p)
    return torch.stack([grads.abs().clamp_min(1 / scale).log() / p, (grads * scale).clamp(-1, 1)])


RECOMPUTED_ABOVE = 2**15
"""Columns above which the backward pass works the gates out again, in place of keeping four fifths of the memory."""


def _stack(weight: Tensor, bias: Tensor) -> Tensor:
    """Weight beside bias, the candidate's rows twice, ``(4 hidden, inputs + hidden + 1)``."""
    stacked = torch.cat([weight, bias], 1)
    stacked[3 * (len(weight) // 4) :] *= 2
    return stacked


def _activate(inputs: Tensor, hidden: Tensor, cell: Tensor, stacked: Tensor) -> tuple[Tensor, ...]:
    """Inputs over hidden over 1, the activated gates, the new cell and its tanh, each ``(its size, columns)``.

    tanh(v) = 2 sigmoid(2 v) - 1, as the sigmoid takes a third of the time on a CPU.

    :param stacked: see ``_stack``.
    """
    size, columns = cell.shape
    both = torch.cat([inputs, hidden, cell.new_ones(1, columns)])
    gates = (stacked @ both).sigmoid_()
    let_in, keep, _, candidate = gates.split(size)
    candidate.mul_(2).sub_(1)
    new_cell = torch.mul(keep, cell).addcmul_(let_in, candidate)
    return both, gates, new_cell, torch.add(new_cell, new_cell).sigmoid_().mul_(2).sub_(1)


class _FusedCell(torch.autograd.Function):
    """``LSTMCell`` with its derivative written out: a third of the kernels that autograd would call.

    With the activated gates in, keep, out and new: cell' = keep cell + in new, hidden' = out tanh(cell').  Then, each
    derivative named d::

        dcell' += dhidden' out (1 - tanh^2 cell')       dcell = dcell' keep
        din = dcell' new (in - in^2)                    dkeep = dcell' cell (keep - keep^2)
        dout = dhidden' tanh(cell') (out - out^2)       dnew = dcell' in (1 - new^2)
        d(inputs, hidden) = weight^T (din, dkeep, dout, dnew)
    """

    @staticmethod
    def forward(  # type: ignore[override]
        context: Any, inputs: Tensor, hidden: Tensor, cell: Tensor, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        size, columns = cell.shape
        stacked = _stack(weight, bias)
        both, gates, new_cell, squashed = _activate(inputs, hidden, cell, stacked)
        kept = (both, gates, squashed) if columns <= RECOMPUTED_ABOVE else (inputs, hidden, stacked)
        context.save_for_backward(cell, weight, *kept)
        return gates[2 * size : 3 * size] * squashed, new_cell

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, d_hidden: Tensor, d_new_cell: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        cell, weight, *kept = context.saved_tensors
        size, columns = cell.shape
        if columns <= RECOMPUTED_ABOVE:
            both, gates, squashed = kept
        else:
            inputs, hidden, stacked = kept
            both, gates, _, squashed = _activate(inputs, hidden, cell, stacked)
        let_in, keep, let_out, candidate = gates.split(size)
        d_cell = aten.tanh_backward(d_hidden * let_out, squashed).add_(d_new_cell)
        d_gates = torch.empty_like(gates)
        d_let_in, d_keep, d_let_out, d_candidate = d_gates.split(size)
        torch.mul(d_cell, candidate, out=d_let_in)
        torch.mul(d_cell, cell, out=d_keep)
        torch.mul(d_hidden, squashed, out=d_let_out)
        torch.mul(d_cell, let_in, out=d_candidate)
        aten.sigmoid_backward.grad_input(d_gates[: 3 * size], gates[: 3 * size], grad_input=d_gates[: 3 * size])
        aten.tanh_backward.grad_input(d_candidate, candidate, grad_input=d_candidate)
        d_inputs: Tensor | None = None
        if context.needs_input_grad[0]:
            d_inputs, d_hidden = (weight.T @ d_gates).split([len(both) - size - 1, size])
        else:
            d_hidden = weight[:, -size:].T @ d_gates
        d_weight, d_bias = (d_gates @ both.T).split([len(both) - 1, 1], 1)
        return d_inputs, d_hidden, d_cell.mul_(keep), d_weight, d_bias


def fused_cell(inputs: Tensor, hidden: Tensor, cell: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """``LSTMCell`` as a function, with its derivative written out, but where a compiler fuses it better."""
    if torch.compiler.is_compiling():
        size = len(hidden)
        gates = weight @ torch.cat([inputs, hidden]) + bias
        let_in, keep, let_out = torch.sigmoid(gates[: 3 * size]).chunk(3)
        new_cell = keep * cell + let_in * (2 * torch.sigmoid(2 * gates[3 * size :]) - 1)
        return let_out * (2 * torch.sigmoid(2 * new_cell) - 1), new_cell
    if not torch.is_grad_enabled():  # the same without the function that ``torch.vmap`` cannot take
        _, gates, new_cell, squashed = _activate(inputs, hidden, cell, _stack(weight, bias))
        return gates[2 * len(hidden) : 3 * len(hidden)] * squashed, new_cell
    return _FusedCell.apply(inputs, hidden, cell, weight, bias)


class LSTMCell(nn.Module):
    """LSTM cell with coordinates last: ``nn.LSTMCell``'s formula on ``(size, columns)``, not ``(columns, size)``.

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
        """``inputs``, ``hidden`` and ``cell``, each ``(its size, columns)`` -> the next hidden and cell."""
        return fused_cell(inputs, hidden, cell, self.weight, self.bias)


@RULES.register("lstm")
class CoordinatewiseLSTM(UpdateRule):
    """Coordinate-wise LSTM: one small network moves every coordinate, each with a state of its own.

    gradient -> log and sign -> ``num_layers`` LSTM cells -> linear without bias, times ``scale``.  The forget gates'
    bias starts at 1.  Features for halting: mean and mean square of the last hidden state over the coordinates,
    F' = 2 ``hidden_size``.  Andrychowicz et al. 2016, section 2.1 and appendix A.
    """

    is_one_graph = True

    def __init__(self, hidden_size: int = 20, num_layers: int = 2, scale: float = 1.0) -> None:
        super().__init__()
        check_range(self.label, at_least=1, below=10_000, hidden_size=hidden_size, num_layers=num_layers)
        check_range(self.label, above=0, scale=scale)
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
        by_problem = torch.cat([hidden, hidden.square()]).unflatten(1, flat.shape)
        features = (by_problem @ flat.new_full(flat.shape[1:], 1 / flat.shape[1])).T  # means, as one product
        return Step(unflatten(update, params), tuple(new_state), features)
