"""A learned optimizer that mixes classical directions: one small LSTM a tensor, not one a coordinate."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from probact.rules.base import RULES, SMALL, Step, UpdateRule
from probact.rules.subspace import directions
from probact.rules.subspace.memory import (
    DIRECTIONS,
    GRADIENTS,
    NUM_DIRECTIONS,
    NUM_GRADIENTS,
    DirectionMemory,
)
from probact.rules.subspace.signals import NUM_SIGNALS
from probact.support.refusals import check_range
from probact.support.trees import Params, State, flatten, some, unflatten

_NUM_INPUTS = NUM_DIRECTIONS * (NUM_DIRECTIONS + 1) // 2 + NUM_SIGNALS


class SubspaceState(NamedTuple):
    """What the rule remembers.

    :ivar hidden: hidden and cell state of each LSTM layer, ``(L, M, hidden_size)``.
    :ivar memory: without graph.
    :ivar unit: of the loss, ``(L,)``; 0 before the first.
    """

    hidden: tuple[tuple[Tensor, Tensor], ...]
    memory: DirectionMemory
    unit: Tensor


@RULES.register("subspace")
class Subspace(UpdateRule):
    """Learned subspace optimizer: an LSTM a tensor weighs momenta, Adam, L-BFGS and the way to the mean.

    update = sum_i w_i u_i b_i over the directions b_i of ``DIRECTIONS``, u_i b_i in units of the parameters: those that
    are gradients count once by the tensor's Barzilai-Borwein step |<s, y>| / <y, y> (Barzilai and Borwein 1988), the
    first by ``first_share`` of the Polyak step loss / |g|^2 (Polyak 1987), and once by the length of the tensor (You,
    Gitman and Ginsburg 2017), which minibatches do not disturb.  The LSTM sees cosines and log ratios of norms only, so
    that it depends neither on the scale of the loss or the parameters, nor on d, and costs O(d) a step.  All tensors
    share its weights and see their mean hidden state (the Tensor and Global RNN of Wichrowska et al. 2017, over
    directions in place of coordinates).

    Safeguards (``trust``): no step is longer than ten times the longest before it; from a loss well above the first one
    the rule goes back to the best iterate, and then takes shorter steps; with ``backtrack``, for exact gradients, it
    goes partway back from any loss that has risen, which is a line search by backtracking.

    Features for halting: the mean hidden state over the tensors, F = ``hidden_size``.

    :param memory: pairs of L-BFGS; with 0 that direction is the gradient.
    :param start: the direction that it follows before training: ``l-bfgs`` (without pairs: the gradient), or another of
        ``DIRECTIONS`` that is a gradient, then by a tenth of the tensor's length.
    :param first_share: above 1 the first step overshoots; what it learns of the largest curvatures pays on
        deterministic convex problems (10 there), since the second step leads back.
    :param backtrack: how much of the way to the best iterate it goes where the loss has risen; 0: it goes on.
    """

    is_one_graph = True

    def __init__(
        self,
        hidden_size: int = 32,
        num_layers: int = 1,
        memory: int = 10,
        start: str = "l-bfgs",
        first_share: float = 1.0,
        backtrack: float = 0.0,
    ) -> None:
        super().__init__()
        check_range(self.label, at_least=1, below=10_000, hidden_size=hidden_size, num_layers=num_layers)
        check_range(self.label, at_least=0, memory=memory)
        check_range(self.label, above=0, first_share=first_share)
        if not 0 <= backtrack <= 1:
            raise ValueError(f"rule 'subspace': expected backtrack from 0 to 1, got {backtrack}")
        if start not in (starts := ("l-bfgs", *GRADIENTS)):
            raise ValueError(f"rule 'subspace': expected start to be one of {', '.join(starts)}, got {start!r}")
        self.hidden_size = hidden_size
        self.memory = memory
        self.num_features = hidden_size
        sizes = [_NUM_INPUTS + hidden_size] + [hidden_size] * (num_layers - 1)
        self.cells = nn.ModuleList(nn.LSTMCell(size, hidden_size) for size in sizes)
        self.output = nn.Linear(hidden_size, 2 * (NUM_DIRECTIONS + NUM_GRADIENTS))
        self.first_share = first_share
        self.backtrack = backtrack
        self.backtracks = backtrack > 0
        with torch.no_grad():
            self.output.weight.zero_()  # unit L-BFGS steps end a quadratic early, and a small error spoils that
            self.output.bias.zero_()
            place = DIRECTIONS.index(start)
            self.output.bias[place if start == "l-bfgs" else NUM_DIRECTIONS + place] = -1.0

    def init(self, params: Params) -> State:
        flat = flatten(params)
        hidden = flat.new_zeros(len(flat), len(params), self.hidden_size)
        return SubspaceState(
            hidden=tuple((hidden, hidden) for _ in self.cells),
            memory=DirectionMemory.init(flat, len(params), self.memory),
            unit=flat.new_zeros(len(flat)),
        )

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        shapes = [tensor.shape[1:] for tensor in grads.values()]
        split = [shape.numel() for shape in shapes]
        with torch.no_grad():
            grad = flatten(grads)
            flat, unit_of_loss = flatten(params), state.unit
            if some(unit_of_loss == 0):
                unit_of_loss = torch.where(unit_of_loss > 0, unit_of_loss, _unit(loss, grad, flat))
            grad, loss = grad / unit_of_loss.unsqueeze(-1), loss / unit_of_loss
            memory, signals = directions.take_in(
                state.memory, grad, loss, flat, shapes, self.first_share, self.backtrack
            )
            basis = memory.basis.split(split, -1)  # M x (L, B, d_m)
            gram = torch.stack([part @ part.mT for part in basis], 1)  # (L, M, B, B)
            length = gram.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()
            unit, relative = directions.units(memory, length)
            inputs = torch.cat([_scale_free(gram, length, unit), signals], -1)
        weight, of_length, hidden = self._weigh(inputs, state.hidden)
        weight = weight * unit
        weight = torch.cat([weight[..., :NUM_GRADIENTS] + of_length * relative, weight[..., NUM_GRADIENTS:]], -1)
        update = torch.cat([(weight[:, k, None] @ part).squeeze(1) for k, part in enumerate(basis)], 1)
        update = memory.trust.guard(update, len(params))
        memory = memory.moved(update.detach())
        return Step(unflatten(update, params), SubspaceState(hidden, memory, unit_of_loss), hidden[-1][0].mean(1))

    def after_foreign_step(self, state: State, update: Params) -> State:
        return state._replace(memory=state.memory.moved_otherwise(flatten(update)))

    def _weigh(self, inputs: Tensor, hidden: Any) -> tuple[Tensor, Tensor, Any]:
        """Weights of the directions in both units, and the LSTM's next state, from ``inputs (L, M, I)``."""
        shape = inputs.shape[:2]
        context = hidden[-1][0].mean(1, keepdim=True).expand(-1, shape[1], -1)
        value = torch.cat([inputs, context], -1).flatten(0, 1)
        states = []
        for cell, (h, c) in zip(self.cells, hidden, strict=True):
            value, c = cell(value, (h.flatten(0, 1), c.flatten(0, 1)))
            states.append((value.unflatten(0, shape), c.unflatten(0, shape)))
        weight, log_scale = self.output(value.unflatten(0, shape)).chunk(2, -1)
        scaled = weight * log_scale.clamp(-4, 4).exp()
        return *scaled.split([NUM_DIRECTIONS, NUM_GRADIENTS], -1), tuple(states)


def _unit(loss: Tensor, grad: Tensor, flat: Tensor) -> Tensor:
    """The power of 2 at what the loss changes by over the parameters' own length, |g| |theta|, ``(L,)``; at ``loss``
    where ``grad (L, d)`` is 0.  A constant in the loss has no part in it, nor has the unit of ``flat (L, d)``.
    """
    largest = grad.abs().amax(-1)
    scale = torch.where(largest > 0, largest, 1.0)
    size = flat.norm(dim=-1)
    size = torch.where(size > 0, size, flat.shape[-1] ** 0.5)
    change = scale * (grad / scale.unsqueeze(-1)).norm(dim=-1) * size
    change = torch.where(change > 0, change, loss.abs())
    return torch.where(change > 0, torch.exp2(torch.frexp(change).exponent.to(loss.dtype)), 1.0)


def _scale_free(gram: Tensor, length: Tensor, unit: Tensor) -> Tensor:
    """Cosines between the directions, and log ratios of their steps to the gradient's, ``(L, M, B (B + 1) / 2)``."""
    cosine = gram / (length.unsqueeze(-1) * length.unsqueeze(-2)).clamp_min(SMALL)
    row, column = torch.tril_indices(NUM_DIRECTIONS, NUM_DIRECTIONS, -1, device=gram.device)
    log_step = torch.log(length * unit + SMALL)
    log_ratio = (log_step - log_step[..., :1]).clamp(-5, 5) / 3
    return torch.cat([cosine[..., row, column], torch.where(length > 0, log_ratio, 0.0)], -1)
