"""The gradient of long unrolls without backpropagation: persistent evolution strategies."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from probact.inference.objectives.base import Objective
from probact.problems.base import Optimizee
from probact.rules.base import UpdateRule
from probact.training.copies import Weights, copies_of, trainable
from probact.training.soundness import unsound
from probact.unrolling.begin import begin
from probact.unrolling.rollout import Rollout, rollout_of
from probact.unrolling.walk import Walk


def perturbations(rule: UpdateRule, num: int, part: range, random: torch.Generator) -> Iterator[Weights]:
    """Standard normal ones of ``rule``, without end: for ``num`` problems, of which those of ``part`` are returned."""
    while True:
        yield {
            name: torch.randn(num, *weight.shape, dtype=weight.dtype, generator=random)[part.start : part.stop].to(
                weight.device
            )
            for name, weight in trainable(rule).items()
        }


def evolve(
    objective: Objective,
    optimizee: Optimizee,
    noise: Iterator[Weights],
    sigma: float,
    segment: int | None = None,
    anneal: float = 1.0,
) -> tuple[Tensor, Rollout]:
    """The objective's mean over perturbed copies of the rule, with the rule's gradient by PES in place of its graph.

    Each problem has an antithetic pair of copies.  Their weights are phi +- sigma noise_j in segment j = 1, 2, ..., and
    noise_j ~ N(0, I) is new in every segment, while all else goes on.  V_j is what the objective makes of the unroll up
    to the end of segment j::

        mean over problems of  sum_j noise_j (D_last - D_{j-1}) / (2 sigma),   D_j = V_j(+) - V_j(-),   D_0 = 0

    which is sum_j (noise_1 + .. + noise_j) (D_j - D_{j-1}) / (2 sigma) (Vicol, Metz and Sohl-Dickstein 2021, arXiv
    2112.13835, section 4).  It is an unbiased gradient of the smoothed objective: of each step through all later ones,
    and through the gradients that the rule sees, which backpropagation here leaves out.  All segments go into one
    update: weights that change in between would bias it, and only a whole unroll can be halted.

    An objective need not be a sum over steps.  V_j is that of the unroll whose rest is ``held``, the same for both
    copies: a sum's V_j differ by the segment's losses.  For the proof V_j may be anything that does not see
    noise_{j+1}, ..., as long as the last one is the objective.

    The halting posterior is not perturbed: its gradient is that of the mean of V_last, by backpropagation through the
    head alone.  A problem of which either copy is ``unsound`` is left out.  In the returned unroll of the first copies
    it has diverged.

    :param sigma: standard deviation of a perturbation.
    :param segment: steps of a segment; None: one segment, which is antithetic evolution strategies on the whole unroll.
    """
    rule, num, horizon = objective.rule, optimizee.num, objective.prior.horizon
    starts = range(0, horizon, segment or horizon)
    with torch.no_grad():
        used = [eps for _, eps in zip(starts, noise, strict=False)]
        rollout = _unroll(objective, _pairs(optimizee), used, sigma, starts)
        sound = ~unsound(rollout)
        kept = sound[:num] & sound[num:]
        nll = rollout.nll[:, :num].clone()
        nll[1:, ~sound[num:]] = math.inf
        first = rollout.select(torch.arange(2 * num, device=kept.device) < num)._replace(nll=nll)
    if not bool(kept.any()):
        return rollout.nll.new_full((), torch.nan), first
    rollout = rollout.select(kept.repeat(2))
    values = objective.totals(rollout, anneal)
    loss = values.mean()
    with torch.no_grad():
        before = [objective.totals(held(rollout, start), anneal) for start in starts]
        plus, minus = _credit(torch.stack([*before, values])).chunk(2, 1)
        share = (plus - minus) / (2 * sigma * plus.shape[1])
    for name, weight in trainable(rule).items():
        gradient = sum(torch.tensordot(part, eps[name][kept], 1) for part, eps in zip(share, used, strict=True))
        loss = loss + (gradient * (weight - weight.detach())).sum()
    return loss, first


def _credit(values: Tensor) -> Tensor:
    """What each segment's perturbation answers for, its and all later, ``(segments, L)``, of V_0, ..., V_last."""
    return values[-1] - values[:-1]


def held(rollout: Rollout, end: int) -> Rollout:
    """Unrolls of pairs up to theta_end; their rest is what the pair has in common, its mean there.

    Features are kept up to the step before, as theta_end is looked at with the next weights.
    """
    return rollout._replace(nll=_held(rollout.nll, end + 1), features=_held(rollout.features, max(end - 1, 0)))


def _held(table: Tensor, num: int) -> Tensor:
    """The first ``num`` rows of ``table (K, 2 L, ...)``, and for the others the mean of both halves of the last."""
    last = table[num - 1] if num else torch.zeros_like(table[0])
    common = torch.stack(last.chunk(2)).mean(0)
    return torch.cat([table[:num], torch.cat([common, common]).expand(len(table) - num, *last.shape)])


def _pairs(optimizee: Optimizee) -> Optimizee:
    """Every problem, and then every problem again."""
    index = torch.arange(optimizee.num, device=next(iter(optimizee.theta0.values())).device)
    return optimizee.select(index.repeat(2))


def _unroll(objective: Objective, optimizee: Optimizee, noise: list[Weights], sigma: float, starts: range) -> Rollout:
    """All segments, on pairs of copies: the first half of the problems with +, the second with - ``noise``.

    Of an unroll that is not ``whole`` a segment's losses are those at its ends.
    """
    rule, horizon, unrolling = objective.rule, objective.prior.horizon, objective.unrolling
    table: list[tuple[Tensor, Tensor, Tensor]] = []
    walk: Walk | None = None
    for start, eps in zip(starts, noise, strict=True):
        weights = {
            name: torch.cat([weight + sigma * eps[name], weight - sigma * eps[name]])
            for name, weight in trainable(rule).items()
        }
        copies = copies_of(rule, weights)
        walk = begin(copies, optimizee, walk.carry if walk else None, start, unrolling=unrolling)
        walk.teaches = True
        for step in range(start, min(start + starts.step, horizon)):
            nll = walk.nll() if unrolling.whole or step == start else table[-1][0]
            table.append((nll, *walk.propose()))
            walk.move()
    assert walk is not None
    table.append((walk.nll(), *walk.propose()))
    nll, of_rule, signals = map(torch.stack, zip(*table, strict=True))
    return rollout_of(nll, of_rule, signals, walk.params, optimizee, looks=unrolling.looks)
