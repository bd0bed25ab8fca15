"""The rule ``expression``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from probact.rules.base import RULES
from probact.rules.expressions.grammar import Seen, direction, means_of, next_mean, plans, uniform
from probact.rules.expressions.parser import canonical, parse, written
from probact.rules.hand_designed import HandDesigned
from probact.rules.plan import Plan
from probact.support.randomness import uniform_bits
from probact.support.refusals import check_range
from probact.support.trees import Params, State, map_params


class Memory(NamedTuple):
    """:ivar means: by name in ``DECAYS``, those that the formula needs.

    :ivar keys: ``(L,)`` int64, of random numbers; :ivar steps: ``(L,)`` int64, made so far.
    """

    means: Mapping[str, Params]
    keys: Tensor
    steps: Tensor
    plan: Plan


def noise_keys(rows: Tensor, seed: int) -> Tensor:
    """Of the random numbers of problems ``rows (L,)`` int64."""
    return uniform_bits(rows, torch.full_like(rows, seed))


@RULES.register("expression")
class Expression(HandDesigned):
    """Any rule that a formula says, -lr expr; ``list`` of words under option expr (Bello et al. 2017).

    Operands: g, g2 = g^2, g3, their running means m, v, gamma (corrected), 1, 2, noise, 1e-4w to 1e-1w (weight decay),
    adam, rmsprop, momentum, and linear, cosine, restart, which fall by the plan if there is one.  Functions: -x, exp,
    log|x|, sqrt|x|, clip(x, 1e-4), drop(x, .1), sign, identity, left(x, y), + - * /.  See ``grammar``.
    What is not finite in an update is put to 0.  ``noise`` and ``drop`` are a function of ``seed``, the problem's row
    at the start, step and coordinate.

    :raises ValueError: on a formula that is not of the grammar.
    """

    usual = False
    learning_rates: ClassVar[tuple[float, ...]] = tuple(float(f"{10 ** (half / 2):.3g}") for half in range(-12, 5))

    def __init__(self, expr: str = "g * exp(sign(g) * sign(m))", lr: float = 0.02, seed: int = 0) -> None:
        super().__init__(lr)
        check_range(self.label, at_least=0, seed=seed)
        self.tree = canonical(parse(expr))
        self.expr = written(self.tree)
        self.seed = seed
        self._means = sorted(means_of(self.tree))

    @property
    def plans(self) -> bool:
        return plans(self.tree)

    def told(self, state: State, plan: Plan) -> State:
        return state._replace(plan=plan)

    def init(self, params: Params) -> State:
        like = next(iter(params.values()))
        rows = torch.arange(len(like), device=like.device)
        zeros = {name: map_params(torch.zeros_like, params) for name in self._means}
        return Memory(zeros, noise_keys(rows, self.seed), torch.zeros_like(rows), Plan.unknown(like))

    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        means = {name: map_params(partial(next_mean, name), mean, grads) for name, mean in state.means.items()}
        steps = state.steps + 1
        update, first = {}, 0
        for name, grad in grads.items():
            of_name = {key: mean[name] for key, mean in means.items()}
            coordinates = torch.arange(first, first := first + grad[0].numel(), device=grad.device)
            seen = Seen(grad, params[name], of_name, steps, state.plan, _drawing(state.keys, steps, coordinates, grad))
            update[name] = -self.lr * direction(self.tree, seen)
        return update, state._replace(means=means, steps=steps)


def _drawing(keys: Tensor, steps: Tensor, coordinates: Tensor, like: Tensor) -> Callable[[int], Tensor]:
    return lambda place: uniform(keys, steps, coordinates, place).to(like.dtype)
