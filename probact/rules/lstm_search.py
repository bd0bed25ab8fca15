"""A search that learns: a Gaussian-process surrogate, and an LSTM that moves its queries and says what to stop by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from probact.rules.alone import Ahead, ModelOfOne
from probact.rules.base import RULES, Step
from probact.rules.searches import ModelBased, ModelMemory, length_grid
from probact.rules.surrogate import Beliefs, Proposal, Surrogate
from probact.support.arrays import NUMBERS, NUMPY, Array, Elementwise, Operations, operations
from probact.support.cells import LSTMOfOne, numbers_of
from probact.support.kernels import check_kernel
from probact.support.refusals import check_range
from probact.support.trees import Params, State, flatten, unflatten

NUM_INPUTS = 7
NUM_SIGNALS = 8
PARTS = (NUM_SIGNALS, 6, 1, 1, 1, 1)
"""Columns of what is worked out at a query: see ``_compose``."""
NUM_READ = 8
"""What the LSTM tells the halting posterior of its memory."""
SMALL = 1e-12


class LearnedMemory(NamedTuple):
    """``model``: the surrogate's.

    :ivar hidden, cell: ``(L, hidden)``; ``since (L,)``: queries since the best one.
    """

    model: ModelMemory
    hidden: Tensor
    cell: Tensor
    since: Tensor


@RULES.register("lstm-search")
class LSTMSearch(ModelBased):
    """Asks where a Gaussian-process surrogate expects most, moved by an LSTM that begins with no move at all.

    After Chen et al. 2017, where the LSTM asks alone.  Here query = x* + r tanh(W h): x* is the largest expected
    improvement averaged over length-scales, r its distance to the nearest query, h the LSTM's state of the values so
    far, standardised.  Neither unit nor offset of f changes a query.  Training reaches W and the LSTM through the
    query and through y, not through x*.
    Features for halting, F' = 16: log of the expected improvement in prices and in spreads, the last gain, queries
    since the best, distance to the nearest, log of the spread in prices, the likely length-scale, z, and 8 of the
    LSTM's state.  There is one network for each dimension of the box.

    :param dim: d, the number of variables.
    :param unit: ``online``: f's unit and offset are learned from its values; ``known``: f has mean 0 and variance 1.
    :param kernel: ``rbf`` or ``matern52``; :param noise: standard deviation of the noise, in amplitudes of f.
    """

    num_features = NUM_SIGNALS + NUM_READ

    def __init__(
        self, dim: int = 1, hidden_size: int = 64, unit: str = "online", kernel: str = "rbf", noise: float = 0.0
    ) -> None:
        super().__init__()
        if unit not in ("online", "known"):
            raise ValueError(f"{self.label}: expected unit online or known, got {unit!r:.40}")
        check_range(self.label, at_least=1, below=1000, dim=dim)
        check_range(self.label, at_least=1, below=10_000, hidden_size=hidden_size)
        check_range(self.label, at_least=0, below=1e6, noise=noise)
        check_kernel(self.label, kernel)
        self.surrogate = Surrogate(kernel, noise, known=unit == "known")
        self.is_unit_free = unit == "online"
        self.dim, self.hidden_size = dim, hidden_size
        self.cell = nn.LSTMCell(2 * dim + NUM_INPUTS, hidden_size)
        self.move = nn.Linear(hidden_size, dim)
        self.read = nn.Linear(hidden_size, NUM_READ)
        nn.init.zeros_(self.move.weight)
        nn.init.zeros_(self.move.bias)

    def _check_dim(self, dim: int) -> None:
        if dim != self.dim:
            raise ValueError(
                f"{self.label}: expected functions of dim {self.dim} variables, got {dim}: "
                f"a network is for one number of variables, its option dim"
            )

    def of_one(self, dim: int, price: float) -> ModelOfOne:
        self._check_dim(dim)
        return LSTMOfOneSearch(self, length_grid(dim)[None], price)

    def init(self, params: Params) -> State:
        flat = flatten(params)
        self._check_dim(flat.shape[1])
        zero = flat.new_zeros(len(flat), self.hidden_size)
        return LearnedMemory(super().init(params), zero, zero, flat.new_zeros(len(flat)))

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        flat = flatten(params)
        memory: LearnedMemory = state
        query, model, found = self.ask(memory.model, flat, loss)
        if found is None:
            told = flat.new_zeros(len(flat), self.num_features)
            return Step(unflatten(query - flat, params), memory._replace(model=model), told)
        with np.errstate(all="ignore"):
            told_now = torch.as_tensor(self._signals(memory, model, found, query)).to(flat)
        signals, seen, reach, since, centre, unit = told_now.split(PARTS, 1)
        y = (loss.unsqueeze(-1) - centre) / unit
        inputs = torch.cat([2 * flat - 1, 2 * query - 1, y, seen], -1)
        hidden, cell = self.cell(inputs, (memory.hidden, memory.cell))
        moved = (query + reach * torch.tanh(self.move(hidden))).clamp(0, 1)
        told = torch.cat([signals, self.read(hidden).tanh()], -1)
        return Step(unflatten(moved - flat, params), LearnedMemory(model, hidden, cell, since.squeeze(-1)), told)

    def _signals(self, memory: LearnedMemory, model: ModelMemory, found: Proposal, query: Tensor) -> Array:
        """``(L, sum of PARTS)``: see ``_compose``; of the kind of ``found``."""
        do, beliefs = operations(found.x), model.beliefs
        given: tuple[Array, ...] = (
            query.detach().double(),
            model.price.double(),
            memory.since.double(),
            model.num.double(),
        )
        if do is NUMPY:
            beliefs = Beliefs(*(part.numpy() for part in beliefs))
            given = tuple(part.numpy() for part in given)
        at, price, since, num = given
        seen = Glimpse(
            *_reach_and_scale(beliefs, found, at),
            best=(best := do.lowest(beliefs.y, 1)),
            gain=do.lowest(beliefs.y[:, :-1], 1) - best if beliefs.num > 1 else 0 * best,
            first=beliefs.first,
            num=num,
            price=price,
            since=since,
            expected=found.expected,
            unit=found.unit,
            centre=found.centre,
            z=found.z,
        )
        return do.concat([part[:, None] for part in _compose(do, seen)], 1)


class Glimpse(NamedTuple):
    """What is known at a query: each ``(L,)``, or a number.

    :ivar reach: distance of the next query to the nearest; ``scale``: mean log length-scale, by their weights.
    :ivar best, gain: the smallest value, and what the last one took off it; ``first``: see ``Beliefs``.
    :ivar num: queries so far; ``price``: of one, NaN where not given; ``since``: of ``LearnedMemory``.
    :ivar expected, unit, centre, z: of ``Proposal``.
    """

    reach: Array
    scale: Array
    best: Array
    gain: Array
    first: Array
    num: Array
    price: Array
    since: Array
    expected: Array
    unit: Array
    centre: Array
    z: Array


def _reach_and_scale(beliefs: Beliefs, found: Proposal, at: Array) -> tuple[Array, Array]:
    """Of ``Glimpse``, ``(L,)``, for the query ``at (L, d)``."""
    do, apart = operations(found.x), beliefs.x - at[:, None]
    reach = do.sqrt(do.lowest(do.sum(apart * apart, -1), 1))
    return reach, do.sum(do.exp(found.log_weights) * do.log(beliefs.lengths), -1)


def _compose(do: Operations | Elementwise, seen: Glimpse) -> list[Array]:
    """8 signals for the halting posterior and 6 for the LSTM, the reach of a move, ``since``, centre and unit of the
    values.

    Only the first is in prices: what is asked next does not depend on them.
    """
    known = seen.unit > 0
    unit = do.where(known, seen.unit, 1.0)
    price = do.where(seen.price > 0, seen.price, 0.01 * unit)
    gain = seen.gain / unit
    since = do.where(gain > 0, 0.0, seen.since + 1)
    spreads = do.log(seen.expected / unit + SMALL)
    prices = do.where(known, do.log(unit / price), 0.0)
    expected = do.where(known, do.at_most(do.at_least(spreads + prices, -12), 12), 6.0)
    spreads = do.where(known, do.at_least(spreads, -12), 0.0)
    z = do.at_most(do.at_least(seen.z, -10), 10)
    lowest, late = (seen.best - seen.centre) / unit, do.log(seen.num)
    near, gained = do.log(seen.reach + 1e-4), do.log(1 + gain * unit / price)
    told = [expected / 3, spreads / 3, gained, since / 4, near / 3, prices / 3, seen.scale, z]
    shown = [lowest, spreads / 3, since / 4, near / 3, seen.scale, late]
    return [*told, *shown, seen.reach, since, seen.first + seen.centre, unit]


class LSTMOfOneSearch(ModelOfOne):
    """``LSTMSearch`` under way on one function."""

    def __init__(self, rule: LSTMSearch, lengths: Tensor, price: float) -> None:
        super().__init__(rule.surrogate, rule.dim, lengths, rule.num_features)
        self.price, self.since = price, 0.0
        self.cell = LSTMOfOne(rule.cell)
        self.hidden = self.memory = np.zeros(rule.hidden_size)
        layers = (rule.move, rule.read)
        self.read = np.concatenate([numbers_of(layer.weight) for layer in layers])
        self.bias = np.concatenate([numbers_of(layer.bias) for layer in layers])

    def _ahead(self, x: Array, y: float, beliefs: Beliefs, found: Proposal) -> Ahead:
        query, expected, _ = super()._ahead(x, y, beliefs, found)
        reach, scale = _reach_and_scale(beliefs, found, found.x)
        values: list[float] = beliefs.y[0].tolist()
        best = min(values)
        glimpse = Glimpse(
            reach=float(reach[0]),
            scale=float(scale[0]),
            best=best,
            gain=min(values[:-1]) - best if len(values) > 1 else 0.0,
            first=float(beliefs.first[0]),
            num=float(self.num),
            price=self.price,
            since=self.since,
            **{name: float(getattr(found, name)[0]) for name in ("expected", "unit", "centre", "z")},
        )
        parts = _compose(NUMBERS, glimpse)
        (reach, self.since, centre, unit), told = parts[-4:], parts[:NUM_SIGNALS]
        inputs = np.concatenate([2 * x - 1, 2 * query - 1, [(y - centre) / unit], parts[NUM_SIGNALS:-4]])
        self.hidden, self.memory = self.cell(inputs, self.hidden, self.memory)
        read = np.tanh(self.read @ self.hidden + self.bias)
        moved = np.clip(query + reach * read[: self.dim], 0, 1)
        return Ahead(moved, expected, np.concatenate([told, read[self.dim :]]))
