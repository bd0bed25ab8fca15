"""A learned optimizer for minibatches that knows its horizon: a small network a tensor says how far to go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from probact.rules.base import RULES, SMALL, Planned, Step
from probact.rules.fused import graph, is_compiling
from probact.rules.tensorwise.between import fused_between, look_between, step_at_look, step_between
from probact.rules.tensorwise.decay import shrink_, shrunk
from probact.rules.tensorwise.held import Held, chosen
from probact.rules.tensorwise.memory import Biases, TensorwiseMemory, looks_at, overwrite
from probact.rules.tensorwise.short import lengthened, shortened
from probact.rules.tensorwise.signals import NUM_SIGNALS, layout_of, loss_means, mean_products, taken_in
from probact.rules.tensorwise.steps import Directions, along_into, bounded, held_directions, held_matrices, matrices_of
from probact.rules.tensorwise.units import in_unit, unless_far
from probact.support.light import lightly
from probact.support.refusals import check_range
from probact.support.room import Room
from probact.support.trees import Params, State, per_problem, some

STARTS = {"adam": 0.02, "slow adam": 0.005, "normalised gradient": 0.002, "balanced": 0.005, "orthogonal": 0.015}
"""The directions, and how far it goes along each before training, in root mean squares of the tensor."""
LONGEST = 0.3
"""The longest step of a tensor, in its lengths."""
ROUNDING = 1e-10
"""A tensor whose mean square gradient is less than this share of that of all has steps no longer than its first length
allows.  It may be rounding alone, as of a bias before batch norm, which would walk off, ever faster as it grows.
"""
LOG_RANGE, DRIFT = 5.0, (0.2, 20.0)
"""How far, in nats, a rate gets from ``STARTS``; and how far those of a tensor drift in a step, and in all steps."""


def shapes_of(params: Params) -> tuple[torch.Size, ...]:
    """Of each tensor of a problem."""
    return tuple(tensor.shape[1:] for tensor in params.values())


def _named(made: Sequence[Tensor], params: Params) -> Params:
    """Steps by the names and of the shapes of ``params``."""
    return {name: part.view_as(tensor) for (name, tensor), part in zip(params.items(), made, strict=True)}


@RULES.register("tensorwise")
class Tensorwise(Planned):
    """Learned steps along momenta: a network a tensor, told how many steps there are.

    With m, n the running means of g with decays .9 and .98, v that of g^2 with .99, each without bias, and r the root
    mean square of the tensor::

        update = -factor r (w_1 m / sqrt(v) + w_2 n / sqrt(v) + w_3 g / sqrt(v) + w_4 balanced(m) + w_5 orthogonal(m))

    ``matrices.balanced`` and, for matrices that are not too wide, ``matrices.orthogonal`` make rows and columns, or
    singular values, about equally large.  The network says log w, and how far all of it drifts from this step on for
    good: a linear function of the signals and of a hidden layer.  Signals are cosines and log ratios of lengths, the
    fall of the loss in units of its jitter, the tensor's shape and size, and how many steps there are, if that is told;
    the factor then falls on a line to 0 (``Plan``).  With ``decay`` matrices shrink as they are moved, too
    (``decay.shrunk``).  Nothing depends on the scale of the loss, as gradients far from 1 get a unit of their own
    (``units``), nor on a constant in it.
    All tensors share its weights (the Tensor RNN of Wichrowska et al. 2017, with the drift as its memory).  It is for
    noisy gradients.

    Features for halting: the mean of the signals over the tensors, F = ``NUM_SIGNALS``.
    """

    num_features = NUM_SIGNALS
    is_one_graph = True
    is_in_graphs = True
    is_linear = True
    is_for_rooms = True

    def __init__(self, hidden_size: int = 16, hold: int = 4, decay: float = 0.0) -> None:
        super().__init__()
        check_range(self.label, at_least=1, below=10_000, hidden_size=hidden_size, hold=hold)
        check_range(self.label, at_least=0, below=1, decay=decay)
        self.hold, self.decay = hold, decay
        self.hidden = nn.Linear(NUM_SIGNALS, hidden_size)
        self.output = nn.Linear(NUM_SIGNALS + hidden_size, len(STARTS) + 1)
        with torch.no_grad():
            self.output.weight[:, :NUM_SIGNALS] = 0
            self.output.weight[:, NUM_SIGNALS:] *= 0.01  # so small that it begins with the rates named, and learns
            self.output.weight[:-1, NUM_SIGNALS - 1] = -0.5 * math.log(1000)  # 1 / sqrt(T), and 1 at T = 200
            self.output.bias[:-1] = 0.5 * math.log(200)
            self.output.bias[-1] = 0

    def init(self, params: Params) -> State:
        tensors, shapes = [tensor.flatten(1) for tensor in params.values()], shapes_of(params)
        memory = TensorwiseMemory.init(tensors)
        memory = memory if self.memory_dtype is None else shortened(memory)
        return memory if self.hold == 1 else memory._replace(held=Held.init(tensors, shapes, len(STARTS), NUM_SIGNALS))

    def is_still(self, state: State) -> bool:
        return True

    def after_foreign_step(self, state: State, update: Params) -> State:
        made = [part.detach().flatten(1).square().mean(-1).sqrt() for part in update.values()]
        return state._replace(last_step=torch.stack(made, -1) / state.size)

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        state = state if self.memory_dtype is None else lengthened(state, loss)
        gradients, thetas = ([part.flatten(1) for part in parts.values()] for parts in (grads, params))
        state, gradients = in_unit(state, gradients)
        made, memory, features = self._made_of(gradients, state, thetas, params, loss)
        made = self._shrunk(made, thetas, params, memory)
        return Step(_named(made, params), memory if self.memory_dtype is None else shortened(memory), features)

    def _made_of(
        self, gradients: list[Tensor], state: TensorwiseMemory, thetas: list[Tensor], params: Params, loss: Tensor
    ) -> tuple[list[Tensor], TensorwiseMemory, Tensor]:
        """The steps, M times ``(L, d_m)``, the memory after them, features."""
        shapes, room = shapes_of(params), self._place(loss)
        work = None if is_compiling(self) else room
        with torch.no_grad():
            looks = None if self.hold == 1 else lightly(looks_at, state.num_seen, state.means, self.hold)
            if looks is not None and room is not None and not is_compiling(self) and some(looks):
                return self._look(state, gradients, thetas, params, loss, room)
            if looks is not None and room is not None and not some(looks):
                made, memory = self._between(state, gradients, shapes, [*params])
                memory = memory._replace(means=lightly(loss_means, memory.means, loss, memory.num_seen))
                return made, memory, memory.at_look.features
            memory = self._with_gradients(state, gradients, room)
            if looks is None:
                matrices = graph(self, matrices_of, memory, shapes, work)
                directions = Directions(gradients, memory, memory.biases(), *matrices)
            else:
                if some(looks):
                    now = graph(self, held_matrices, memory, shapes, work)
                    memory = memory._replace(held=chosen(looks, now, memory.at_look))
                directions = graph(self, held_directions, gradients, memory, shapes)
        if looks is None or some(looks):
            said = graph(self, Tensorwise._said, self, directions, thetas, shapes, loss)
            said = said if looks is None else _chosen(looks, said, directions.memory)
            memory, rates, features = directions.memory._replace(**said.of_tensors), said.rates, said.features
        else:
            memory = memory._replace(means=lightly(loss_means, memory.means, loss, memory.num_seen))
            rates, features = memory.plan.factor[:, None, None] * memory.at_look.rates, memory.at_look.features
        made = self._made(directions, rates, None if room is None else [*params])
        if looks is not None:
            made, memory = bounded(made, memory, rates, looks, LONGEST)
        return made, memory, features

    def _shrunk(
        self, made: list[Tensor], thetas: list[Tensor], params: Params, memory: TensorwiseMemory
    ) -> list[Tensor]:
        """With the weights' decay, if there is any."""
        if not self.decay:
            return made
        shapes, room = shapes_of(params), self._place(memory.num_seen)
        if room is None:
            return graph(self, shrunk, made, thetas, shapes, memory, self.decay)
        shrink_(made, thetas, shapes, memory, self.decay, room)
        return made

    def _place(self, of_problems: Tensor) -> Room | None:
        """The room, where it may be worked in: for one problem, without a graph."""
        return self.room if len(of_problems) == 1 and not torch.is_grad_enabled() else None

    def _between(
        self, state: TensorwiseMemory, grads: list[Tensor], shapes: tuple[torch.Size, ...], names: Sequence[str]
    ) -> tuple[list[Tensor], TensorwiseMemory]:
        """A step without a look, in the room."""
        assert self.room is not None
        if not is_compiling(self):
            return step_between(state, grads, shapes, names, self.room, LONGEST)
        places = [self.room.like(name, grad) for name, grad in zip(names, grads, strict=True)]
        memory, shorter = graph(self, fused_between, state, grads, shapes, places, LONGEST)
        if some(shorter < 1):
            torch._foreach_mul_(places, shorter[0].tolist())
        return places, memory

    def _look(
        self,
        state: TensorwiseMemory,
        gradients: list[Tensor],
        thetas: list[Tensor],
        params: Params,
        loss: Tensor,
        room: Room,
    ) -> tuple[list[Tensor], TensorwiseMemory, Tensor]:
        """A step with a look, in the room."""
        shapes, names = shapes_of(params), [*params]
        memory, means = look_between(state, gradients, thetas, shapes, names, room)
        said = self._said_of(memory, memory.biases(), means, shapes, loss)
        said = _chosen(torch.ones_like(loss, dtype=torch.bool), said, memory)
        memory = memory._replace(**said.of_tensors)
        return step_at_look(memory, gradients, shapes, names, room), memory, said.features

    def _made(self, directions: Directions, rates: Tensor, names: Sequence[str] | None) -> list[Tensor]:
        """The steps; of parameters with ``names`` in the room, by name, as steps of others may be worked out before
        these are made.
        """
        if names is None or self.room is None:
            return graph(self, Directions.along, directions, rates)
        made = [self.room.like(name, part) for name, part in zip(names, directions.grads, strict=True)]
        if is_compiling(self):
            graph(self, along_into, made, directions, rates)
        else:
            directions.along_in(made, self.room, rates)
        return made

    def _with_gradients(
        self, state: TensorwiseMemory, gradients: Sequence[Tensor], room: Room | None
    ) -> TensorwiseMemory:
        if room is None:
            return graph(self, TensorwiseMemory.with_gradients, state, gradients)
        graph(self, overwrite, state, gradients)
        return state._replace(num_seen=state.num_seen + 1)

    def _said(
        self, directions: Directions, thetas: Sequence[Tensor], shapes: tuple[torch.Size, ...], loss: Tensor
    ) -> _Said:
        """What the network says."""
        with torch.no_grad():
            means = mean_products(directions, thetas, layout_of(shapes, loss.dtype, loss.device))
        return self._said_of(directions.memory, directions.biases, means, shapes, loss)

    def _said_of(
        self, memory: TensorwiseMemory, biases: Biases, means: Tensor, shapes: tuple[torch.Size, ...], loss: Tensor
    ) -> _Said:
        """Likewise, from ``mean_products``."""
        plan, layout = memory.plan, layout_of(shapes, loss.dtype, loss.device)
        since = None if self.hold == 1 else memory.num_seen - memory.at_look.step
        with torch.no_grad():
            after, signals = taken_in(memory, means, loss, biases, layout, since)
        said = self.output(torch.cat([signals, torch.tanh(self.hidden(signals))], -1))
        furthest = (DRIFT[1] / plan.expected(memory.num_seen)).clamp_max(DRIFT[0])
        furthest = (furthest if since is None else since * furthest).unsqueeze(-1)
        drift = (memory.drift + furthest * torch.tanh(said[..., -1])).clamp(-LOG_RANGE, LOG_RANGE)
        said = LOG_RANGE * torch.tanh((said[..., :-1] + drift.unsqueeze(-1)) / LOG_RANGE)
        rates = plan.factor[:, None, None] * said.exp() * said.new_tensor([*STARTS.values()])
        with torch.no_grad():
            products = means[..., -len(STARTS) :, -len(STARTS) :]
            length = (rates.unsqueeze(-2) @ products @ rates.unsqueeze(-1)).flatten(2).squeeze(-1).clamp_min(0).sqrt()
            shorter = (LONGEST / length.clamp_min(SMALL)).clamp_max(1.0)
            grads = means[..., 0, 0]
            whole = (grads * layout.numel).sum(-1, keepdim=True) / layout.numel.sum()
            grown = (after.size / after.first_size).clamp_min(1.0)
            shorter = torch.where(grads < ROUNDING * whole, shorter / grown, shorter)
        rates = rates * (-shorter * after.size).unsqueeze(-1)
        changed = ("first_size", "size", "grad_size", "means")
        of_tensors = {name: getattr(after, name) for name in changed} | {"unit": unless_far(after)}
        return _Said(rates, {**of_tensors, "last_step": length * shorter, "drift": drift}, signals.mean(1))


class _Said(NamedTuple):
    """What the network says.

    :ivar rates: along each direction, ``(L, M, 5)``; :ivar features: for halting.
    :ivar of_tensors: what of the memory is as large as M, by its name.
    """

    rates: Tensor
    of_tensors: dict[str, Any]
    features: Tensor


def _chosen(looks: Tensor, said: _Said, memory: TensorwiseMemory) -> _Said:
    """Of problems that have ``looks (L,)`` what was said, of the others what is held."""
    factor, held = memory.plan.factor[:, None, None], memory.at_look
    kept = chosen(looks, held._replace(rates=said.rates / factor, features=said.features, step=memory.num_seen), held)
    of_tensors: dict[str, Any] = {**said.of_tensors, "held": kept}
    if not some(~looks):
        return said._replace(of_tensors=of_tensors)
    for name in said.of_tensors.keys() - {"means"}:
        of_tensors[name] = torch.where(per_problem(looks, part := of_tensors[name]), part, getattr(memory, name))
    return _Said(
        torch.where(per_problem(looks, said.rates), said.rates, factor * kept.rates), of_tensors, kept.features
    )
