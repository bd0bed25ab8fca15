"""A search that learns: a Gaussian-process surrogate, and an LSTM that moves its queries and says what to stop by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from probact.rules.base import RULES, Step
from probact.rules.searches import ModelBased, ModelMemory
from probact.rules.surrogate import Beliefs, Proposal, Surrogate
from probact.support.arrays import NUMPY, Array, operations
from probact.support.kernels import check_kernel
from probact.support.refusals import check_range
from probact.support.trees import Params, State, flatten, unflatten

NUM_INPUTS = 7
NUM_SIGNALS = 8
PARTS = (NUM_SIGNALS, 6, 1, 1, 1, 1)
"""Columns of what is worked out at a query: see ``_signals``."""
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

    def init(self, params: Params) -> State:
        flat = flatten(params)
        if flat.shape[1] != self.dim:
            raise ValueError(
                f"{self.label}: expected functions of dim {self.dim} variables, got {flat.shape[1]}: "
                f"a network is for one number of variables, its option dim"
            )
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
        """``(L, sum of PARTS)``: 8 for the halting posterior and 6 for the LSTM, the reach of a move, ``since``, centre
        and unit of the values; of the kind of ``found``.

        Only the first is in prices: what is asked next does not depend on them.
        """
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
        known = found.unit > 0
        unit = do.where(known, found.unit, 1.0)
        price = do.where(price > 0, price, 0.01 * unit)
        best = do.lowest(beliefs.y, 1)
        gain = (do.lowest(beliefs.y[:, :-1], 1) - best) / unit if beliefs.num > 1 else 0 * best
        since = do.where(gain > 0, 0.0, since + 1)
        apart = beliefs.x - at[:, None]
        reach = do.sqrt(do.lowest(do.sum(apart * apart, -1), 1))
        scale = do.sum(do.exp(found.log_weights) * do.log(beliefs.lengths), -1)
        spreads = do.log(found.expected / unit + SMALL)
        prices = do.where(known, do.log(unit / price), 0.0)
        expected = do.where(known, do.at_most(do.at_least(spreads + prices, -12), 12), 6.0)
        spreads = do.where(known, do.at_least(spreads, -12), 0.0)
        z = do.at_most(do.at_least(found.z, -10), 10)
        lowest, late = (best - found.centre) / unit, do.log(num)
        near, gained = do.log(reach + 1e-4), do.log(1 + gain * unit / price)
        told = [expected / 3, spreads / 3, gained, since / 4, near / 3, prices / 3, scale, z]
        seen = [lowest, spreads / 3, since / 4, near / 3, scale, late]
        rest = [reach, since, beliefs.first + found.centre, unit]
        return do.concat([part[:, None] for part in (*told, *seen, *rest)], 1)
