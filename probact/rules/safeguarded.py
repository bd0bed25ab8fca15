"""A safeguard that any rule can wear: back to the best iterate, with shorter steps, when the loss gets lost."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from probact.rules.base import STAND_IN_LOSS, Step, UpdateRule, Wrapper
from probact.rules.exactness import Exactness
from probact.support.arrays import Array, operations
from probact.support.light import lightly
from probact.support.sight import Sight
from probact.support.trees import Params, State, chosen, finite as all_finite, map_params, per_problem

MEAN_WEIGHT, NOISE_WEIGHT = 0.1, 0.02
"""Weight of the newest loss in its running mean, and of the newest turn in the noise."""
FIRST_NOISE = 0.05
"""The noise to begin with, as a share of the first loss."""
TOLERANCE = 4.0
"""How far above the best the loss may be, in units of the noise."""
CALM = 0.9
"""What each loss leaves of the noise at the best iterate, so that rises do not widen the tolerance."""
SHRINK, GROW, LEAST_SHORTENING = 0.5, 1.02, 1e-9
"""Factors of the shortening, and its lower end."""


class Guard(NamedTuple):
    """What the safeguard remembers beside the wrapped rule's ``state``; all but ``best_params`` without graph.

    :ivar best_params: theta*, name -> ``(L, *shape)``.
    :ivar best, lowest, level, calm: score, loss, level and noise at theta*, each ``(L,)``.
    :ivar mean, noise, shortening, num_seen: mean, noise, rho and t, each ``(L,)``.
    :ivar rise: how far above theta* the last loss was if it was high, else 0, ``(L,)``.
    :ivar was_lost: whether the last step led back, ``(L,)`` bool.
    :ivar last, change: the last loss, and what it was above the one before, ``(L,)``.
    :ivar is_at_best: whether it was theta* that the last step was made from, ``(L,)`` bool.
    :ivar exactness: whether the loss is exact, as far as steps from theta* tell.
    """

    state: State
    best_params: Params
    best: Tensor
    lowest: Tensor
    level: Tensor
    calm: Tensor
    mean: Tensor
    noise: Tensor
    shortening: Tensor
    num_seen: Tensor
    rise: Tensor
    was_lost: Tensor
    last: Tensor
    change: Tensor
    is_at_best: Tensor
    exactness: Exactness

    @property
    def bar(self) -> Tensor:
        """What a loss has to be below to be better than that at theta*, ``(L,)``."""
        return torch.where(self.exactness.is_exact, self.lowest, self.best)


class Safeguarded(Wrapper):
    """``rule``, which goes back to the best iterate when the loss gets lost, and from there on with shorter steps.

    With f_t the loss at theta_t, u_t what the wrapped rule proposes there, and for each problem apart::

        turn_t = min(|f_t - f_{t-1}|, |f_{t-1} - f_{t-2}|) if one is a rise and the other a fall, else 0
        noise_t = noise + 0.02 (turn_t - noise) from noise = 0.05 |f_0|;  mean_t = mean + max(1 / t, 0.1) (f_t - mean)
        theta* = argmin of f, or of the mean if that is higher, but by noise at most, over the steps 0..t;
                 where f is exact, of f
        level  = likewise at theta*, by 4 noise at most

        f_t is high:  min(f_t, mean_t) > level + 4 noise_t;  mean_t, noise_t then stay as they were
        not high twice in a row:  theta_{t+1} = theta_t + rho u_t;  rho <- min(1, 1.02 rho)
        else lost:  theta_{t+1} = theta*;  rho <- rho / 2;  mean <- level;  noise <- calm <- 0.9 calm, calm the noise at
                    theta*;  the wrapped rule starts afresh
        but if f_t, back at theta*, is high by more than half as much, or rho is 1e-9, then no step did it but noise or
        another task:  theta* = theta_t, level <- mean <- f_t;  noise <- max(2 noise, 0.05 |f_t|);  rho <- 1

    The shortening rho starts at 1: a rule that is never lost is not changed by a bit.  Loss and running mean must
    agree, and twice, so that unlucky minibatches are no loss; lucky ones are the best by what noise allows at most.  An
    exact loss is told from a noisy one by the steps from theta* (``exactness``); of several problems that share a loss,
    as those of layers that are unfrozen late, it is taken for noisy.
    Neither a descent nor a climb, however steep, widens the tolerance, as only turns do.  An update that is not finite
    counts as lost at once, and so does, in ``unrolling.step.propose``, a loss or gradient.

    theta* bounds what has been looked at.  The iterate after the last look has not been.  While the noise is still
    large, the loss may be above that at theta* by 8 noise.  Adding theta* - theta_t rounds, so that from 1e8 away it
    takes two steps.
    """

    recovers: ClassVar[bool] = True

    def __init__(self, rule: UpdateRule) -> None:
        super().__init__(rule)
        if rule.sees is not Sight.GRADIENT:
            raise ValueError(f"safeguard: expected a rule that sees {Sight.GRADIENT.value}, got {rule.label}")
        self.backtracks = rule.backtracks

    @property
    def label(self) -> str:
        return self.rule.label

    def init(self, params: Params) -> State:
        like = next(iter(params.values()))
        zero = like.new_zeros(len(like))
        no = zero > 0
        return Guard(
            state=self.rule.init(params),
            best_params=params,
            best=zero,
            lowest=zero,
            level=zero,
            calm=zero,
            mean=zero,
            noise=zero,
            shortening=zero + 1,
            num_seen=zero,
            rise=zero,
            was_lost=no,
            last=zero,
            change=zero,
            is_at_best=no,
            exactness=Exactness.init(zero),
        )

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        proposed = self.rule.step(grads, state.state, params, loss)
        finite = all_finite(proposed.update.values())
        loss = loss.detach()
        guard, is_lost, shortening = _watched(_weighed(state, grads, params, loss, finite), params, loss, finite)
        if not bool((guard.shortening == 1).all()):  # a shortening of 1 changes nothing
            proposed = proposed._replace(
                update=map_params(lambda u: per_problem(guard.shortening, u) * u, proposed.update)
            )
        if bool(is_lost.any()):
            proposed = self._rescue(proposed, guard, params, is_lost)
        exactness = guard.exactness._replace(slope=_slope(guard.is_at_best, grads, proposed.update))
        guard = guard._replace(state=proposed.state, shortening=shortening, exactness=exactness)
        return proposed._replace(state=guard)

    def _rescue(self, proposed: Step, guard: Guard, params: Params, is_lost: Tensor) -> Step:
        """``proposed`` with the way back and a fresh state where ``is_lost (L,)``."""

        def choose(back: Tensor, on: Tensor) -> Tensor:
            return torch.where(per_problem(is_lost, on), back, on)

        update = map_params(lambda best, now, u: choose(best - now, u), guard.best_params, params, proposed.update)
        return proposed._replace(update=update, state=self.rule.restarted(proposed.state, is_lost, params))


def bare(rule: UpdateRule) -> UpdateRule:
    """``rule`` without the safeguard, if it wears one."""
    return rule.rule if isinstance(rule, Safeguarded) else rule


def _weighed(guard: Guard, grads: Params, params: Params, loss: Tensor, finite: Tensor) -> Guard:
    """The guard with what the last step tells of the loss' exactness taken in, if it was made from theta*."""
    if bool((guard.num_seen == 0).any()):
        first = torch.where(guard.num_seen == 0, loss, guard.exactness.first)
        guard = guard._replace(exactness=guard.exactness._replace(first=first))
    if not bool(guard.is_at_best.any()):
        return guard
    made = map_params(lambda theta, best: theta.detach() - best, params, guard.best_params)
    slope, seen = _slope(guard.is_at_best, grads, made), guard.is_at_best & finite & (loss < STAND_IN_LOSS)
    return guard._replace(exactness=guard.exactness.take_in(loss, guard.last, slope, seen))


def _slope(where: Tensor, grads: Params, step: Params) -> Tensor:
    """<g, s> of the problems ``where (L,)``, as numbers; 0 if there are none."""
    if not bool(where.any()):
        return torch.zeros_like(where, dtype=next(iter(grads.values())).dtype)
    parts = [(grad * step[name].detach()).flatten(1).sum(1) for name, grad in grads.items()]
    return torch.stack(parts).sum(0)


def _watched(guard: Guard, params: Params, loss: Tensor, finite: Tensor) -> tuple[Guard, Tensor, Tensor]:
    """The guard with the loss at ``params`` taken in, which problems are lost, ``(L,)`` bool, what shortens next."""
    numbers = guard._replace(state=(), best_params={})
    seen, better, is_lost, shortening = lightly(_watch, numbers, loss, finite)
    best_params = chosen(better, params, guard.best_params)
    seen = seen._replace(state=guard.state, best_params=best_params, exactness=guard.exactness)
    return seen, is_lost, shortening


def _watch(guard: Guard, loss: Array, finite: Array) -> tuple[Guard, Array, Array, Array]:
    """The guard's numbers with ``loss`` taken in; where it is the best, where it is lost, and the next shortening."""
    do = operations(loss)
    first = guard.num_seen == 0
    count = guard.num_seen + 1
    finite = finite & (loss < STAND_IN_LOSS)
    change = do.where(first | guard.was_lost | (finite ^ True), 0.0, loss - guard.last)
    turned = do.sign(change) * do.sign(guard.change) < 0
    turn = do.where(turned, do.lower(abs(change), abs(guard.change)), 0.0)
    noise = do.where(first, FIRST_NOISE * abs(loss), guard.noise + NOISE_WEIGHT * (turn - guard.noise))
    mean = do.where(first, loss, guard.mean + (loss - guard.mean) * do.at_least(1 / count, MEAN_WEIGHT))
    rise = do.where(finite, loss - guard.level, math.inf)
    judged = do.where(guard.was_lost, loss, do.lower(loss, mean))
    is_high = (first ^ True) & (judged > guard.level + TOLERANCE * noise) | (finite ^ True)
    no_step_did_it = (guard.was_lost & (rise > 0.5 * guard.rise)) | (guard.shortening <= LEAST_SHORTENING)
    is_new = is_high & finite & (guard.rise > 0) & no_step_did_it
    is_lost = is_high & (is_new ^ True) & ((guard.rise > 0) | (finite ^ True))
    mean, noise = do.where(is_high, guard.mean, mean), do.where(is_high, guard.noise, noise)
    wider = do.higher(noise / SHRINK, FIRST_NOISE * abs(loss))
    mean, noise = do.where(is_new, loss, mean), do.where(is_new, wider, noise)
    luck = do.at_least(mean - loss, 0.0)
    score = loss + do.lower(luck, noise)
    bar = do.where(guard.exactness.is_exact, guard.lowest, guard.best)
    better = first | is_new | (do.where(guard.exactness.is_exact, loss, score) < bar)
    level = do.where(better, loss + do.lower(luck, TOLERANCE * noise), guard.level)
    calm = do.where(better, noise, guard.calm)
    calm = do.where(is_lost, CALM * calm, calm)
    shortening = do.where(is_new, 1.0, guard.shortening)
    taken_in = guard._replace(
        best=do.where(better, score, guard.best),
        lowest=do.where(better, loss, guard.lowest),
        level=level,
        calm=calm,
        mean=do.where(is_lost, level, mean),
        noise=do.where(is_lost, calm, noise),
        shortening=shortening,
        num_seen=count,
        rise=do.where(is_high & (is_new ^ True), rise, 0.0),
        was_lost=is_lost,
        last=do.where(finite, loss, guard.last),
        change=change,
        is_at_best=better & finite,
    )
    following = do.at_least(do.where(is_lost, SHRINK * shortening, GROW * shortening), LEAST_SHORTENING)
    return taken_in, better, is_lost, do.at_most(following, 1.0)
