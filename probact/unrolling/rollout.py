"""Running a rule on a batch of problems for K steps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from probact.problems.base import Optimizee
from probact.rules.base import UpdateRule
from probact.support.trees import Params, detach, map_params, map_state, per_problem
from probact.unrolling import looks as looks_at_x
from probact.unrolling.begin import begin
from probact.unrolling.compilation import compiled_rows
from probact.unrolling.looks import Looks
from probact.unrolling.progress import in_prices, of_unroll
from probact.unrolling.recomputation import Recomputed
from probact.unrolling.search import Asked, Search
from probact.unrolling.step import Carry
from probact.unrolling.walk import DEFAULT_UNROLLING, Unrolling, rows


class Rollout(NamedTuple):
    """K steps on L problems.

    :ivar nll: ``(K + 1, L)``, -log p(x | theta_t) for t = 0..K; inf from the step on at which a problem diverged.  With
        recall, here and in all that follows, theta_t is the best look of theta_0..theta_t.
    :ivar features: ``(K, L, F)``; row t - 1 belongs to halting at t: what is seen at theta_t, the next step being
        worked out but not made; it depends on theta_0..theta_t only.
    :ivar params: theta_K.
    :ivar horizon: ``(L,)`` int64, the T of each problem drawn before the unroll, or None.
    :ivar optimum: ``(L,)``, the smallest nll of each problem, or None where it is not known.
    :ivar optimizee: the problems, or None where the losses alone are known.
    :ivar asked: of a search its queries; None of any other unroll, and of one by segment or without a graph.
    :ivar path: theta_1..theta_K, name -> ``(K, L, *shape)``, or None: ``with_path`` adds it.
    """

    nll: Tensor
    features: Tensor
    params: Params
    horizon: Tensor | None = None
    optimum: Tensor | None = None
    optimizee: Optimizee | None = None
    path: Params | None = None
    asked: Asked | None = None

    @property
    def observed(self) -> Tensor:
        """x, ``(L, n, ...)``; of problems without ``Optimizee.observations`` their numbers 0..L-1 stand for it."""
        x = None if self.optimizee is None else self.optimizee.observations()
        return torch.arange(self.nll.shape[1], device=self.nll.device) if x is None else x

    @property
    def log_likelihood(self) -> Tensor:
        """log p(x | t) for t = 1..K, ``(K, L)``."""
        return -self.nll[1:]

    @property
    def above_optimum(self) -> Tensor:
        """``nll`` less the optimum, where that is known."""
        return self.nll if self.optimum is None else self.nll - self.optimum

    def finite(self) -> Rollout:
        """The problems that did not diverge, and of which the rule tells numbers."""
        return self.select(self.nll.isfinite().all(0) & self.features.isfinite().all(-1).all(0))

    def select(self, kept: Tensor) -> Rollout:
        """The problems in ``kept (L,)`` bool."""
        if bool(kept.all()):
            return self
        horizon, optimum = (None if values is None else values[kept] for values in (self.horizon, self.optimum))
        params = map_params(lambda tensor: tensor[kept], self.params)
        optimizee = None if self.optimizee is None else self.optimizee.select(kept)
        path = None if self.path is None else map_params(lambda tensor: tensor[:, kept], self.path)
        asked = None if self.asked is None else map_state(lambda tensor: tensor[:, kept], self.asked)
        return Rollout(self.nll[:, kept], self.features[:, kept], params, horizon, optimum, optimizee, path, asked)

    def with_path(self, rule: UpdateRule, looks: Looks | None = None) -> Rollout:
        """The same with the path that ``rule``, whose unroll it is, takes again.

        :param looks: those of the unroll.
        :raises ValueError: if the problems are not known.
        """
        if self.optimizee is None:
            raise ValueError("path: expected a rollout that knows its problems, got losses alone")
        with torch.no_grad():
            recall = looks is not None and looks.recall
            path = list(returned_params(rule, self.optimizee, len(self.features), recall))
        return self._replace(path={name: torch.stack([params[name] for params in path]) for name in path[0]})


def returns_best(rule: UpdateRule, optimizee: Optimizee, looks: Looks | None = None) -> bool:
    """Whether stopping at t returns the best of theta_0..theta_t, not theta_t.

    So it does with recall, and of a rule that backtracks, where the loss that it descends is ``nll`` itself: theta_t
    may be a trial that its next step rejects.
    """
    return (looks is not None and looks.recall) or (rule.backtracks and not optimizee.stochastic)


def returned(nll: Tensor, rule: UpdateRule, optimizee: Optimizee, looks: Looks | None = None) -> Tensor:
    """nll of what stopping after each step returns, for ``nll (K + 1, L)`` of the path."""
    return nll.cummin(0).values if returns_best(rule, optimizee, looks) else nll


def returned_params(rule: UpdateRule, optimizee: Optimizee, num_steps: int, best: bool) -> Iterator[Params]:
    """What stopping after each of ``num_steps`` returns; ``best`` as ``returns_best`` says."""
    walk = begin(rule, optimizee)
    kept, lowest = walk.params, walk.nll() if best else None
    for _ in range(num_steps):
        walk.move()
        if lowest is None:
            kept = walk.params
        else:
            nll = walk.nll()
            better = nll < lowest
            lowest = torch.where(better, nll, lowest)
            kept = map_params(partial(_where, better), walk.params, kept)
        yield kept


def _where(chosen: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(per_problem(chosen, new), new, old)


def unroll(
    rule: UpdateRule,
    optimizee: Optimizee,
    horizon: int | Tensor,
    unrolling: Unrolling = DEFAULT_UNROLLING,
) -> Rollout:
    """Run ``rule`` on ``optimizee`` for K steps: a whole ``Walk``.

    :param horizon: the number of steps K, or ``(L,)`` int64 with each problem's T: then K = max T.
    """
    num_steps = int(horizon.max()) if isinstance(horizon, Tensor) else horizon
    drawn = horizon if isinstance(horizon, Tensor) else None
    start = partial(begin, rule, optimizee, unrolling=unrolling)
    weights = [weight for weight in rule.parameters() if weight.requires_grad] if torch.is_grad_enabled() else []
    if unrolling.recompute and weights:
        nll, of_rule, signals, *tensors = Recomputed.apply(start, num_steps, *weights)
        params = dict(zip(optimizee.theta0, tensors, strict=True))
        return rollout_of(nll, of_rule, signals, params, optimizee, drawn, unrolling.looks)
    asked: Asked | None = None
    if unrolling.compiled and weights:
        table, params = compiled_rows(start, num_steps + 1)
    else:
        walk = start()
        table, params = list(rows(walk, num_steps + 1)), walk.params
        asked = walk.asked if isinstance(walk, Search) else None
    nll, of_rule, signals = map(torch.stack, zip(*table, strict=True))
    return rollout_of(nll, of_rule, signals, params, optimizee, drawn, unrolling.looks)._replace(asked=asked)


def segments(rule: UpdateRule, optimizee: Optimizee, num_steps: int, unrolling: Unrolling) -> Iterator[Rollout]:
    """The unroll in parts of ``truncate`` steps, each with a graph of its own: the rule may change between them.

    Row 0 of a part is the last row of the part before, seen with the rule as it is now.
    """
    length, uncut = unrolling.truncate or num_steps, unrolling._replace(truncate=None)
    carry: Carry | None = None
    for step in range(0, num_steps, length):
        walk = begin(rule, optimizee, carry, step, unrolling=uncut)
        table = list(rows(walk, min(length, num_steps - step) + 1))
        nll, of_rule, signals = map(torch.stack, zip(*table, strict=True))
        yield rollout_of(nll, of_rule, signals, walk.params, optimizee, looks=unrolling.looks)
        carry = map_state(Tensor.detach, walk.carry)


def rollout_of(
    nll: Tensor,
    of_rule: Tensor,
    signals: Tensor,
    params: Params,
    optimizee: Optimizee,
    drawn: Tensor | None = None,
    looks: Looks | None = None,
) -> Rollout:
    """From the rows of a walk, ``(K + 1, L)``, ``(K + 1, L, F')`` and ``(K + 1, 4, L)``."""
    if looks is None:
        features = [of_rule, of_unroll(signals)]
    else:
        of_x = looks_at_x.of_unroll(nll, looks.price)
        features = [of_rule, of_unroll(in_prices(signals, looks.price)), of_x]
        nll = nll.cummin(0).values if looks.recall else nll
    return Rollout(nll, torch.cat(features, -1)[1:], detach(params), drawn, optimizee.optimum(), optimizee)
