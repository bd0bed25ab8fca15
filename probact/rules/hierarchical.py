"""The hierarchical learned optimizer: one small RNN a coordinate, one a tensor, one a problem."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from probact.rules.base import RULES, Step, UpdateRule
from probact.support.refusals import check_range
from probact.support.trees import Params, State, flatten, unflatten

NUM_SCALES = 4
"""S: time scales of the running means, each twice as long as the one before."""
MEAN_LOGIT, SQUARE_LOGIT, RATE_LOGIT = 2.2, 3.2, 3.2
"""Where the decays start, as logits: 0.9 for the shortest mean, 0.96 for the squares and for the rates."""
MOST_CHANGE = 20.0
"""How far, in nats, a coordinate's rate can get from where it starts."""
LEAST_GRAD, MOST_GRAD = 1e-15, 1e15
"""Sizes of a gradient entry between which nothing depends on the loss' scale; their squares are single precision's."""


class FedBackGRU(nn.Module):
    """GRU cell with columns last, and a bias of each column's own, which the level above sends down.

    With every weight its own (Cho et al. 2014)::

        reset, keep = sigmoid(weight (inputs, hidden) + bias)
        new = tanh(weight inputs + bias + reset * weight hidden),    hidden <- new + keep (hidden - new)
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        bound = hidden_size**-0.5
        self.from_inputs = nn.Parameter(torch.empty(3 * hidden_size, input_size).uniform_(-bound, bound))
        self.from_hidden = nn.Parameter(torch.empty(3 * hidden_size, hidden_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(3 * hidden_size, 1))
        with torch.no_grad():
            self.bias[hidden_size : 2 * hidden_size] = 1.0  # remember, to begin with

    def forward(self, inputs: Tensor, hidden: Tensor, fed_back: Tensor | None = None) -> Tensor:
        """``inputs``, ``hidden``, ``fed_back`` (3 x ``hidden``), each ``(its size, *columns)`` -> the next hidden."""
        size, columns = len(hidden), hidden.shape[1:]
        from_inputs = torch.addmm(self.bias, self.from_inputs, inputs.flatten(1)).unflatten(1, columns)
        if fed_back is not None:
            from_inputs = from_inputs + fed_back
        from_hidden = (self.from_hidden @ hidden.flatten(1)).unflatten(1, columns)
        reset, keep = torch.sigmoid(from_inputs[: 2 * size] + from_hidden[: 2 * size]).chunk(2)
        new = torch.tanh(torch.addcmul(from_inputs[2 * size :], reset, from_hidden[2 * size :]))
        return torch.lerp(new, hidden, keep)


class HierarchyMemory(NamedTuple):
    """What the rule remembers of M tensors with d coordinates in all.

    :ivar log_rate: log of the rate over the one it starts at, ``(L, d)``.
    :ivar num_seen: gradients seen, ``(L,)``.
    :ivar parameter, tensor, overall: hidden states of the levels, ``(L, hidden, d)``, ``(L, hidden, M)``,
        ``(L, hidden)``.
    :ivar means, squares: running means of g, and of their squares, ``(L, scales, d)``.
    """

    log_rate: Tensor
    num_seen: Tensor
    parameter: Tensor
    tensor: Tensor
    overall: Tensor
    means: Tensor
    squares: Tensor


@RULES.register("hierarchical")
class Hierarchical(UpdateRule):
    """Hierarchical RNN optimizer: an RNN for each coordinate, tensor and problem, each level steering the one below.

    With low, middle and top the hidden states of coordinate, tensor and problem.  ``lin`` is a linear map, each time
    another; a mean of states is over all of one level that belong to one of the next; j = 0..3 is a time scale::

        low <- GRU(inputs, low; bias lin middle + lin top)
        middle <- GRU(mean low, middle; bias lin top)       top <- GRU(mean middle, top)

        mean_j <- running mean of g with decay^(2^-j)       decay = sigmoid(lin low), low of the step before
        square_j <- running mean of mean_j^2                its decay likewise
        inputs = mean_j / sqrt(square_j),  log square_j less its mean over j,  log_rate less its mean over the problem

        direction = -lin(mean_j / sqrt(square_j)) + lin low, divided by its root mean square over the tensor
        update = rate exp(log_rate + lin low) direction     log_rate <- log_rate + (1 - its decay) lin low

    All coordinates share their weights, and all tensors theirs.  Nothing sees the scale of the loss; the length of the
    steps is learned, in units of the parameters.  Before training it is momentum over its root mean square, averaged
    over the time scales, with steps of ``rate``.

    Features for halting: top, F' = ``global_size``.

    Wichrowska et al. 2017, section 3.  Left out is their look-ahead (attention), as the gradient comes from theta_t
    alone.  All rates start at one learned value, not at random ones.  Running means are without bias, as Adam's.
    """

    is_one_graph = True

    def __init__(
        self, parameter_size: int = 10, tensor_size: int = 20, global_size: int = 20, rate: float = 0.01
    ) -> None:
        super().__init__()
        check_range(
            self.label,
            at_least=1,
            below=10_000,
            parameter_size=parameter_size,
            tensor_size=tensor_size,
            global_size=global_size,
        )
        check_range(self.label, above=0, rate=rate)
        self.num_features = global_size
        self.parameter_cell = FedBackGRU(2 * NUM_SCALES + 1, parameter_size)
        self.tensor_cell = FedBackGRU(parameter_size, tensor_size)
        self.global_cell = FedBackGRU(tensor_size, global_size)
        self.tensor_to_parameter = nn.Linear(tensor_size, 3 * parameter_size, bias=False)
        self.global_to_parameter = nn.Linear(global_size, 3 * parameter_size, bias=False)
        self.global_to_tensor = nn.Linear(global_size, 3 * tensor_size, bias=False)
        self.decays = nn.Linear(parameter_size, 2)
        self.turn = nn.Linear(parameter_size, 1, bias=False)
        self.momentum = nn.Parameter(torch.full((NUM_SCALES,), 1 / NUM_SCALES))
        self.rate_change = nn.Linear(parameter_size, 1)
        self.rate_logit = nn.Parameter(torch.tensor(RATE_LOGIT))
        self.log_rate = nn.Parameter(torch.tensor(math.log(rate)))
        with torch.no_grad():
            self.decays.bias.copy_(torch.tensor([MEAN_LOGIT, SQUARE_LOGIT]))
            self.rate_change.bias.zero_()
            for output in (self.decays, self.turn, self.rate_change):
                output.weight.mul_(0.1)

    def init(self, params: Params) -> State:
        flat = flatten(params)
        num, num_coordinates = flat.shape
        parameter, tensor, overall = (
            flat.new_zeros(num, cell.from_hidden.shape[1], num_columns)
            for cell, num_columns in (
                (self.parameter_cell, num_coordinates),
                (self.tensor_cell, len(params)),
                (self.global_cell, 1),
            )
        )
        zero = flat.new_zeros(num, NUM_SCALES, num_coordinates)
        return HierarchyMemory(
            torch.zeros_like(flat), flat.new_zeros(num), parameter, tensor, overall[..., 0], zero, zero
        )

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        sizes = [tensor[0].numel() for tensor in grads.values()]
        # The state is kept as (L, hidden, n), views of the (hidden, L, n) that the cells work on.
        parameter, tensor, overall, means, squares = (part.movedim(1, 0) for part in state[2:])
        log_rate, num_seen = state.log_rate, state.num_seen + 1
        means, squares = self._average(flatten(grads), means, squares, parameter, num_seen)
        normalised, log_squares = means / squares.sqrt(), squares.log()
        relative_rate = log_rate - log_rate.mean(1, keepdim=True)
        inputs = torch.cat([normalised, log_squares - log_squares.mean(0), relative_rate.unsqueeze(0)])

        from_above = _project(self.tensor_to_parameter, tensor)
        from_above = from_above + _project(self.global_to_parameter, overall).unsqueeze(-1)
        parameter = self.parameter_cell(inputs, parameter, _spread(from_above, sizes))
        from_above = _project(self.global_to_tensor, overall).unsqueeze(-1)
        tensor = self.tensor_cell(_pool(parameter, sizes), tensor, from_above)
        overall = self.global_cell(tensor.mean(-1), overall)

        direction = _project(self.turn, parameter)[0] - torch.tensordot(self.momentum, normalised, 1)
        direction = direction * _spread(_pool(direction.square(), sizes).add(1e-16).rsqrt(), sizes)
        change = _project(self.rate_change, parameter)[0]
        rate = (self.log_rate + _bounded(log_rate + change)).exp()
        log_rate = _bounded(log_rate + torch.sigmoid(-self.rate_logit) * change)
        kept = (part.movedim(0, 1) for part in (parameter, tensor, overall, means, squares))
        return Step(unflatten(rate * direction, grads), HierarchyMemory(log_rate, num_seen, *kept), overall.T)

    def _average(
        self, grad: Tensor, means: Tensor, squares: Tensor, parameter: Tensor, num_seen: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``means`` and ``squares (scales, L, d)`` with ``grad (L, d)`` taken in; the squares are never 0."""
        grad = grad.clamp(-MOST_GRAD, MOST_GRAD)
        log_decays = nn.functional.logsigmoid(_project(self.decays, parameter))
        scales = 0.5 ** torch.arange(NUM_SCALES, device=grad.device, dtype=grad.dtype).view(-1, 1, 1)
        means = _running(means, grad.unsqueeze(0), log_decays[:1] * scales, num_seen)
        squares = _running(squares, means.square(), log_decays[1:], num_seen)
        return means, squares.clamp_min(LEAST_GRAD**2)


def _project(linear: nn.Linear, columns: Tensor) -> Tensor:
    """``linear`` of each column, ``(in, *columns) -> (out, *columns)``."""
    flat = columns.flatten(1)
    found = linear.weight @ flat if linear.bias is None else torch.addmm(linear.bias.unsqueeze(1), linear.weight, flat)
    return found.unflatten(1, columns.shape[1:])


def _running(mean: Tensor, value: Tensor, log_decay: Tensor, num_seen: Tensor) -> Tensor:
    """The t-th running mean, ``mean`` + (1 - decay) / (1 - decay^t) (``value`` - ``mean``)."""
    log_decay = log_decay.clamp_max(-1e-5)
    weight = torch.expm1(log_decay) / torch.expm1(log_decay * num_seen.unsqueeze(-1))
    return torch.lerp(mean, value, weight)


def _bounded(log_rate: Tensor) -> Tensor:
    return log_rate.clamp(-MOST_CHANGE, MOST_CHANGE)


def _pool(columns: Tensor, sizes: list[int]) -> Tensor:
    """Mean over the coordinates of each tensor, ``(*, d) -> (*, M)``."""
    return torch.stack([part.mean(-1) for part in columns.split(sizes, -1)], -1)


def _spread(columns: Tensor, sizes: list[int]) -> Tensor:
    """To each coordinate what its tensor has, ``(*, M) -> (*, d)``."""
    parts = zip(columns.split(1, -1), sizes, strict=True)
    return torch.cat([part.expand(*part.shape[:-1], size) for part, size in parts], -1)
