"""A learned optimizer that mixes classical directions: one small LSTM a tensor, not one a coordinate."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from probact.optimizees.base import Params, flatten, unflatten
from probact.registry import RULES
from probact.rules.base import State, Step, UpdateRule
from probact.rules.lbfgs import Curvature

DECAYS = (0.5, 0.9, 0.98)
"""Decays of the running means of the gradient."""
DIRECTIONS = ("gradient", *(f"mean {decay}" for decay in DECAYS), "adam", "last step", "l-bfgs", "to the best")
NUM_DIRECTIONS = len(DIRECTIONS)
_NUM_GRADIENTS = 2 + len(DECAYS)
"""The first directions have the unit of a gradient."""
_NUM_SIGNALS = 6
_NUM_INPUTS = NUM_DIRECTIONS * (NUM_DIRECTIONS + 1) // 2 + _NUM_SIGNALS
_BETA2 = 0.98
_SMALL = 1e-30


class Memory(NamedTuple):
    """What the rule remembers; all without graph but ``hidden``.  K tensors a problem, d coordinates in all.

    :ivar hidden: hidden and cell state of each LSTM layer, ``(L, K, hidden_size)``.
    :ivar means, square: running means of g at ``DECAYS`` ``(L, 3, d)`` and of g^2 ``(L, d)``, from 0.
    :ivar update, grad: last step and the gradient before it, ``(L, d)``.
    :ivar to_best: theta_best - theta, ``(L, d)``.
    :ivar log_rate: log of the Barzilai-Borwein step, ``(L, K)``.
    :ivar first_loss, best_loss, last_loss, num_seen: ``(L,)``; ``num_seen`` is the number of gradients seen.
    :ivar radius: length of the longest step so far, ``(L,)``.
    """

    hidden: tuple[tuple[Tensor, Tensor], ...]
    means: Tensor
    square: Tensor
    curvature: Curvature
    update: Tensor
    grad: Tensor
    to_best: Tensor
    log_rate: Tensor
    radius: Tensor
    first_loss: Tensor
    best_loss: Tensor
    last_loss: Tensor
    num_seen: Tensor


@RULES.register("subspace")
class Subspace(UpdateRule):
    """Learned subspace optimizer: an LSTM a tensor weighs gradient, momenta, Adam, last step, L-BFGS and way back.

    update = sum_i w_i b_i over the directions b_i of ``DIRECTIONS``, each in units of the parameters: those that are
    gradients are scaled by the tensor's Barzilai-Borwein step |<s, y>| / <y, y> (Barzilai and Borwein 1988), the first
    by ``first_share`` of the Polyak step loss / |g|^2 (Polyak 1987).  The LSTM sees cosines and log ratios of norms
    only, so that it depends neither on the scale of the loss or the parameters, nor on rotations, nor on d, and costs
    O(d) a step.  All tensors share its weights and see their mean hidden state (the Tensor and Global RNN of Wichrowska
    et al. 2017, over directions in place of coordinates).  It starts as L-BFGS (without: as gradient descent).

    Safeguards: no step is longer than ten times the longest before it, and from a loss above the first one the rule
    goes back to the best iterate (but for the first step, which may overshoot to learn the curvature).

    Features for halting: the mean hidden state over the tensors, F = ``hidden_size``.

    :param memory: pairs of L-BFGS; 0 leaves that direction out.
    :param first_share: above 1 the first step overshoots; what it learns of the largest curvatures pays on
        deterministic convex problems (10 there), since the second step leads back.
    """

    def __init__(self, hidden_size: int = 32, num_layers: int = 1, memory: int = 10, first_share: float = 1.0) -> None:
        super().__init__()
        if hidden_size < 1 or num_layers < 1 or memory < 0 or not first_share > 0:
            raise ValueError(
                "rule 'subspace': expected hidden_size and num_layers >= 1, memory >= 0 and first_share > 0, "
                f"got {hidden_size}, {num_layers}, {memory} and {first_share}"
            )
        self.hidden_size = hidden_size
        self.memory = memory
        self.num_features = hidden_size
        sizes = [_NUM_INPUTS + hidden_size] + [hidden_size] * (num_layers - 1)
        self.cells = nn.ModuleList(nn.LSTMCell(size, hidden_size) for size in sizes)
        self.output = nn.Linear(hidden_size, 2 * NUM_DIRECTIONS)
        self.first_share = first_share
        with torch.no_grad():
            self.output.weight.zero_()  # unit L-BFGS steps end a quadratic early, and a small error spoils that
            self.output.bias.zero_()
            self.output.bias[DIRECTIONS.index("l-bfgs")] = -1.0

    def init(self, params: Params) -> State:
        flat = flatten(params)
        num, num_tensors = len(flat), len(params)
        zero, zeros = flat.new_zeros(num), torch.zeros_like(flat)
        hidden = flat.new_zeros(num, num_tensors, self.hidden_size)
        return Memory(
            hidden=tuple((hidden, hidden) for _ in self.cells),
            means=flat.new_zeros(num, len(DECAYS), flat.shape[1]),
            square=zeros,
            curvature=Curvature.empty(flat, self.memory),
            update=zeros,
            grad=zeros,
            to_best=zeros,
            log_rate=flat.new_zeros(num, num_tensors),
            radius=zero,
            first_loss=zero + math.inf,
            best_loss=zero + math.inf,
            last_loss=zero,
            num_seen=zero,
        )

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        sizes = [tensor[0].numel() for tensor in grads.values()]
        with torch.no_grad():
            memory, signals = _observe(state, flatten(grads), loss, sizes)
            known = memory.curvature.scale > 0
            basis = _directions(memory, known).split(sizes, -1)  # K x (L, B, d_k)
            gram = torch.stack([part @ part.mT for part in basis], 1)  # (L, K, B, B)
        first = (memory.num_seen == 1).unsqueeze(-1)
        polyak = torch.log((loss.abs() + _SMALL) / (memory.grad.square().sum(-1) + _SMALL)).unsqueeze(-1)
        rate = torch.where(first, polyak + math.log(self.first_share), memory.log_rate).exp()
        scale = _scale(rate, known)
        with torch.no_grad():
            inputs = torch.cat([_scale_free(gram, scale), signals], -1)
        weight, hidden = self._weigh(inputs, memory.hidden)
        weight = weight * scale
        update = torch.cat([(weight[:, k, None] @ part).squeeze(1) for k, part in enumerate(basis)], 1)
        update = _guard(update, memory)
        fixed = update.detach()
        memory = memory._replace(
            hidden=hidden,
            update=fixed,
            to_best=memory.to_best - fixed,
            log_rate=rate.detach().log(),
            radius=torch.maximum(memory.radius, fixed.norm(dim=-1)),
        )
        return Step(unflatten(update, params), memory, hidden[-1][0].mean(1))

    def _weigh(self, inputs: Tensor, hidden: Any) -> tuple[Tensor, Any]:
        """Weights of the directions ``(L, K, B)`` from ``inputs (L, K, I)``, and the LSTM's next state."""
        shape = inputs.shape[:2]
        context = hidden[-1][0].mean(1, keepdim=True).expand(-1, shape[1], -1)
        value = torch.cat([inputs, context], -1).flatten(0, 1)
        states = []
        for cell, (h, c) in zip(self.cells, hidden, strict=True):
            value, c = cell(value, (h.flatten(0, 1), c.flatten(0, 1)))
            states.append((value.unflatten(0, shape), c.unflatten(0, shape)))
        weight, log_scale = self.output(value.unflatten(0, shape)).chunk(2, -1)
        return weight * log_scale.clamp(-4, 4).exp(), tuple(states)


def _observe(memory: Memory, grad: Tensor, loss: Tensor, sizes: list[int]) -> tuple[Memory, Tensor]:
    """The memory with gradient and loss at theta_t taken in, and signals of the last step ``(L, K, 6)``."""
    step, change = memory.update, grad - memory.grad
    step_change, change_change = _dots(step, change, sizes), _dots(change, change, sizes)
    count = memory.num_seen + 1
    first = (memory.num_seen == 0).unsqueeze(-1)
    measured = torch.log(step_change.abs() + _SMALL) - torch.log(change_change + _SMALL)
    old = memory.log_rate
    # After the first step the measurement itself, later a step towards it of at most a factor of e^1.5.
    followed = torch.where(count.unsqueeze(-1) == 2, measured, old + (measured - old).clamp(-1.5, 1.5))
    log_rate = torch.where(first | (step_change == 0), old, followed)
    best = loss < memory.best_loss
    decays = grad.new_tensor(DECAYS).view(1, -1, 1)
    promised = _dots(memory.grad, step, sizes).sum(-1)
    drop = (memory.last_loss - loss) / (promised.abs() + _SMALL)
    cosine = step_change / (_dots(step, step, sizes) * change_change + _SMALL).sqrt()
    grown, before = _dots(grad, grad, sizes), _dots(memory.grad, memory.grad, sizes)
    log_growth = 0.5 * torch.log((grown + _SMALL) / (before + _SMALL))
    whole = (drop.clamp(-3, 3), best.to(loss.dtype), count.log() / 4)
    signals = [cosine, log_growth.clamp(-5, 5) / 2, log_rate - old]
    signals += [value.unsqueeze(-1).expand_as(old) for value in whole]
    first_loss = torch.where(memory.num_seen == 0, loss, memory.first_loss)
    curvature = memory.curvature.add(step, change) if memory.curvature.steps.shape[1] else memory.curvature
    taken_in = memory._replace(
        means=decays * memory.means + (1 - decays) * grad.unsqueeze(1),
        square=_BETA2 * memory.square + (1 - _BETA2) * grad.square(),
        curvature=curvature,
        grad=grad,
        to_best=torch.where(best.unsqueeze(-1), 0.0, memory.to_best),
        log_rate=log_rate,
        first_loss=first_loss,
        best_loss=torch.minimum(loss, memory.best_loss),
        last_loss=loss,
        num_seen=count,
    )
    return taken_in, torch.where(first.unsqueeze(-1), 0.0, torch.stack(signals, -1))


def _guard(update: Tensor, memory: Memory) -> Tensor:
    """No step longer than ten times the longest before it; back to the best iterate from a loss above the first.

    Not so after the first step, which may overshoot: its curvature leads back without losing a step.
    """
    length = update.detach().norm(dim=-1)
    limit = torch.where(memory.radius > 0, 10 * memory.radius / length.clamp_min(_SMALL), 1.0).clamp_max(1.0)
    lost = (memory.last_loss > memory.first_loss) & (memory.num_seen > 2)
    return torch.where(lost.unsqueeze(-1), memory.to_best, update * limit.unsqueeze(-1))


def _directions(memory: Memory, known: Tensor) -> Tensor:
    """The directions ``(L, B, d)``, of which the gradients still lack the rate; -g for L-BFGS without pairs."""
    count = memory.num_seen.view(-1, 1, 1)
    decays = memory.grad.new_tensor(DECAYS).view(1, -1, 1)
    means = memory.means / (1 - decays**count)
    root = (memory.square / (1 - _BETA2 ** count.squeeze(-1))).sqrt()
    adam = means[:, 1] / (root + 1e-12)
    adam = adam * (memory.grad.norm(dim=-1) / adam.norm(dim=-1).clamp_min(_SMALL)).unsqueeze(-1)
    newton = torch.where(known.unsqueeze(-1), memory.curvature.solve(memory.grad), memory.grad)
    return torch.stack([memory.grad, *means.unbind(1), adam, memory.update, newton, memory.to_best], 1)


def _scale(rate: Tensor, known: Tensor) -> Tensor:
    """What turns the directions into steps, ``(L, K, B)``: the rate ``(L, K)`` for gradients, 1 for the others."""
    one = torch.ones_like(rate)
    newton = torch.where(known.unsqueeze(-1), one, rate)
    return torch.stack([rate] * _NUM_GRADIENTS + [one, newton, one], -1)


def _scale_free(gram: Tensor, scale: Tensor) -> Tensor:
    """Cosines between the directions, and log ratios of their lengths to the gradient's, ``(L, K, B (B + 1) / 2)``."""
    length = gram.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()
    cosine = gram / (length.unsqueeze(-1) * length.unsqueeze(-2)).clamp_min(_SMALL)
    row, column = torch.tril_indices(NUM_DIRECTIONS, NUM_DIRECTIONS, -1, device=gram.device)
    log_step = torch.log(length * scale + _SMALL)
    log_ratio = (log_step - log_step[..., :1]).clamp(-5, 5) / 3
    return torch.cat([cosine[..., row, column], torch.where(length > 0, log_ratio, 0.0)], -1)


def _dots(a: Tensor, b: Tensor, sizes: list[int]) -> Tensor:
    """Inner products tensor by tensor, ``(L, K)``."""
    return torch.stack([part.sum(-1) for part in (a * b).split(sizes, 1)], 1)
