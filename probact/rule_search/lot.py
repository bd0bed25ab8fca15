"""Many rules in training side by side: one pass through all networks a step, and each rule's formula on its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from probact.problems.base import Score, value_and_grad
from probact.problems.network import Network
from probact.rules.expressions.grammar import Node, Seen, direction, means_of, next_mean, uniform
from probact.rules.expressions.rule import noise_keys
from probact.rules.plan import Plan
from probact.support.trees import flatten, unflatten

LARGEST = 1e15
"""No parameter gets larger: a network that diverges stays a network."""


class Lot:
    """R rules, each at n rates on N networks: row ((r n + j) N + k) of every table is rule r, rate j, network k.

    :param problems: the N networks; :param rates: ``(R, n)``.
    :param total: steps that rules which plan are told.
    """

    def __init__(self, problems: Network, trees: Sequence[Node], rates: Tensor, total: int, seed: int) -> None:
        self.trees, self.rates, self.total = list(trees), rates, total
        self.networks = problems.num
        rows = torch.arange(problems.num).repeat(rates.numel())
        self._keys = noise_keys(torch.arange(problems.num), seed)
        self.problems = problems.select(rows)
        self.theta = flatten(self.problems.theta0)
        names = sorted({name for tree in trees for name in means_of(tree)})
        self.means = {name: torch.zeros_like(self.theta) for name in names}
        self.made = 0

    @property
    def rows(self) -> int:
        """Networks a rule: n N."""
        return self.rates.shape[1] * self.networks

    def step(self) -> Tensor:
        """One step of all; their losses before it, ``(R, n, N)``, of the minibatch."""
        params = unflatten(self.theta, self.problems.theta0)
        loss, grads = value_and_grad(partial(self.problems.loss, step=self.made), params)
        grad = torch.nan_to_num(flatten(grads), nan=0.0, posinf=0.0, neginf=0.0)
        plan = Plan.of(torch.full_like(loss, self.total), self.made)
        self.made += 1
        self.means = {name: next_mean(name, mean, grad) for name, mean in self.means.items()}
        steps, drawn = torch.full((len(loss),), self.made), _Draws(self._keys, self.made, self.theta)
        for index, tree in enumerate(self.trees):
            own = slice(index * self.rows, (index + 1) * self.rows)
            means = {name: mean[own] for name, mean in self.means.items()}
            some = Plan(plan.left[own], plan.total[own])
            seen = Seen(grad[own], self.theta[own], means, steps[own], some, drawn.of_rule(self.rates.shape[1]))
            lr = self.rates[index].repeat_interleave(self.networks).unsqueeze(-1)
            self.theta[own] -= lr * direction(tree, seen)
        self.theta.nan_to_num_(nan=LARGEST).clamp_(-LARGEST, LARGEST)
        return loss.view(len(self.trees), -1, self.networks)

    def keep(self, kept: Tensor) -> Lot:
        """Of the rules ``kept (R,)`` alone."""
        rows = kept.repeat_interleave(self.rows)
        trees = [tree for tree, keeps in zip(self.trees, kept.tolist(), strict=True) if keeps]
        lot = Lot.__new__(Lot)
        lot.trees, lot.rates, lot.total, lot.made = trees, self.rates[kept], self.total, self.made
        lot.networks, lot.problems = self.networks, self.problems.select(rows)
        lot.theta, lot._keys = self.theta[rows], self._keys
        lot.means = {name: mean[rows] for name, mean in self.means.items()}
        return lot

    def _scored(self, rows: Tensor) -> Score:
        params = unflatten(self.theta, self.problems.theta0)
        return self.problems.select(rows).test_score({name: tensor[rows] for name, tensor in params.items()})

    def scores(self) -> Score:
        """Validation loss and accuracy of all, each ``(R, n, N)``."""
        score = self._scored(torch.arange(len(self.theta)))
        shape = (len(self.trees), -1, self.networks)
        return Score(score.loss.view(shape), score.accuracy.view(shape))

    def scores_at(self, which: Tensor, wanted: Tensor) -> Iterator[Score]:
        """Of the rules ``wanted (R,)`` at their rate ``which (R,)``, one after another: each ``(N,)``."""
        base = (torch.arange(len(self.trees)) * self.rates.shape[1] + which)[wanted] * self.networks
        score = self._scored((base.unsqueeze(-1) + torch.arange(self.networks)).flatten())
        for loss, accuracy in zip(*(values.view(-1, self.networks) for values in score), strict=True):
            yield Score(loss, accuracy)


class _Draws:
    """Random numbers of a step, worked out once: the same for all rules and rates, another for each network."""

    def __init__(self, keys: Tensor, step: int, like: Tensor) -> None:
        self._keys, self._steps, self._like = keys, torch.full_like(keys, step), like
        self._drawn: dict[int, Tensor] = {}

    def of_rule(self, num_rates: int) -> Callable[[int], Tensor]:
        """Place in the tree -> ``(n N, d)``."""

        def draw(place: int) -> Tensor:
            if place not in self._drawn:
                coordinates = torch.arange(self._like.shape[1])
                drawn = uniform(self._keys, self._steps, coordinates, place)
                self._drawn[place] = drawn.to(self._like.dtype)
            return self._drawn[place].repeat(num_rates, 1)

        return draw
