"""Searches of a function by its values: what all have in common, and those with nothing to train."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from probact.rules.alone import ModelOfOne
from probact.rules.base import RULES, Step, UpdateRule
from probact.rules.surrogate import Beliefs, Proposal, Surrogate
from probact.support.arrays import Array, operations
from probact.support.kernels import check_kernel
from probact.support.randomness import BITS, uniform_bits
from probact.support.refusals import check_range
from probact.support.sight import Sight
from probact.support.trees import Params, State, flatten, unflatten

NUM_LENGTHS = 6
SHORTEST, LONGEST = 0.05, 0.7
"""Ends of the grid of length-scales, times sqrt(d)."""


def length_grid(dim: int) -> Tensor:
    """Length-scales that a search without knowledge of f weighs, ``(G,)`` float64: of one ratio, in the unit box."""
    return dim**0.5 * torch.logspace(math.log10(SHORTEST), math.log10(LONGEST), NUM_LENGTHS, dtype=torch.float64)


class SearchRule(UpdateRule):
    """A rule that asks for values in [0, 1]^d, which all its parameters together are a point of."""

    sees = Sight.VALUE

    def of_one(self, dim: int, price: float) -> ModelOfOne | None:
        """The same search of one function of ``dim`` variables, without tensors; None if there is no such form.

        :param price: of a query, in the unit of f.
        """
        return None


class ModelMemory(NamedTuple):
    """``num (L,)`` queries so far; ``expected (L,)`` of the query proposed; ``price (L,)``, NaN where not given."""

    num: Tensor
    beliefs: Beliefs
    expected: Tensor
    price: Tensor


class ModelBased(SearchRule):
    """A search by ``Surrogate``: the first query is the centre, the next where the expected improvement is largest."""

    surrogate: Surrogate
    is_unit_free = True
    knows_length = False

    def init(self, params: Params) -> State:
        flat = flatten(params)
        num, dim = flat.shape
        like = flat.new_zeros(num)
        lengths = flat.new_full((num, 1), math.nan).double() if self.knows_length else _grid(num, dim, str(flat.device))
        beliefs = self.surrogate.init(num, dim, lengths)
        return ModelMemory(like.long(), beliefs, torch.full_like(like, math.inf), torch.full_like(like, math.nan))

    def of_one(self, dim: int, price: float) -> ModelOfOne | None:
        return None if self.knows_length else ModelOfOne(self.surrogate, dim, _grid(1, dim, "cpu"), self.num_features)

    def shown(self, state: State, given: Params) -> State:
        memory: ModelMemory = _own(state)
        if self.knows_length and "length" in given:
            lengths = given["length"].double().unsqueeze(-1)
            memory = memory._replace(beliefs=memory.beliefs._replace(lengths=lengths))
        if "price" in given:
            memory = memory._replace(price=given["price"])
        return memory if isinstance(state, ModelMemory) else state._replace(model=memory)

    def ask(self, memory: ModelMemory, flat: Tensor, y: Tensor) -> tuple[Tensor, ModelMemory, Proposal | None]:
        """The next query ``(L, d)``, after ``y (L,)`` at ``flat (L, d)``; no proposal before the first value.

        The proposal is in numpy's arrays where L is 1, on a CPU.

        :raises ValueError: if the length-scale is to be known and is not.
        """
        num, price = memory.num + 1, memory.price
        if not bool(memory.num.any()):
            if bool(memory.beliefs.lengths.isnan().any()):
                raise ValueError(f"{self.label}: length known: expected problems that give their length, got none")
            centre = torch.full_like(flat, 0.5)
            return centre, ModelMemory(num, memory.beliefs, torch.full_like(flat[:, 0], math.inf), price), None
        with torch.no_grad(), np.errstate(all="ignore"):
            known = memory.beliefs
            x: Array = flat.detach().double()
            value: Array = y.detach().double()
            if is_alone := len(flat) == 1 and flat.device.type == "cpu":
                known, x, value = Beliefs(*(part.numpy() for part in known)), x.numpy(), value.numpy()
            beliefs = self.surrogate.take_in(known, x, value)
            found = self.surrogate.propose(beliefs)
            query, expected = found.x, operations(x).where(found.unit > 0, found.expected, math.inf)
            if is_alone:
                beliefs = Beliefs(*map(torch.from_numpy, beliefs))
                query, expected = torch.from_numpy(query), torch.from_numpy(expected)
        return query.to(flat), ModelMemory(num, beliefs, expected.to(flat), price), found

    def expects(self, state: State) -> Tensor | None:
        return _own(state).expected


def _own(state: State) -> ModelMemory:
    return state if isinstance(state, ModelMemory) else state.model


@cache
def _lengths(dim: int, device: str) -> Tensor:
    return length_grid(dim).to(device)


def _grid(num: int, dim: int, device: str) -> Tensor:
    return _lengths(dim, device).expand(num, -1)


@RULES.register("gp-ei")
class GaussianProcessSearch(ModelBased):
    """Expected improvement under a Gaussian process (Mockus 1978, Jones et al. 1998); nothing to train.

    :param length: ``fitted``: of a grid that of the largest marginal likelihood; ``mixed``: all, weighed by it;
        ``known``: the function's own, with its mean 0 and variance 1: a limit, which no search has.
    :param kernel: ``rbf`` or ``matern52``; :param noise: standard deviation of the noise, in amplitudes of f.
    """

    is_baseline = True

    def __init__(self, length: str = "fitted", kernel: str = "rbf", noise: float = 0.0) -> None:
        super().__init__()
        ways = ("fitted", "mixed", "known")
        if length not in ways:
            raise ValueError(f"{self.label}: expected length {', '.join(ways[:-1])} or {ways[-1]}, got {length!r:.40}")
        check_kernel(self.label, kernel)
        check_range(self.label, at_least=0, below=1e6, noise=noise)
        self.knows_length = length == "known"
        self.is_unit_free = not self.knows_length
        self.surrogate = Surrogate(kernel, noise, self.knows_length, best_alone=length == "fitted")

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        flat = flatten(params)
        query, memory, _ = self.ask(state, flat, loss)
        return Step(unflatten(query - flat, params), memory, loss.new_empty(len(loss), 0))


@RULES.register("random-search")
class RandomSearch(SearchRule):
    """Uniform queries: each is a function of ``seed`` and of all values before it, which differ between functions."""

    is_baseline = True

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        check_range(self.label, at_least=0, below=2**63, seed=seed)
        self.seed = seed

    def init(self, params: Params) -> State:
        flat = flatten(params)
        return (torch.full((len(flat),), self.seed, dtype=torch.long, device=flat.device),)

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        (key,) = state
        flat = flatten(params)
        key = uniform_bits(key, 1 + loss.detach().double().view(torch.long))
        coordinate = torch.arange(flat.shape[1], device=flat.device)
        query = (uniform_bits(key.unsqueeze(-1), coordinate).double() / 2**BITS).to(flat)
        return Step(unflatten(query - flat, params), (key,), loss.new_empty(len(loss), 0))
