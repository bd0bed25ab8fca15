"""One optimizer followed on problems: losses of its path, and what stop rules may know there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from probact.inference.posteriors.base import HaltingPosterior
from probact.problems.base import Optimizee, Score
from probact.rules.base import UpdateRule
from probact.stopping.base import Known
from probact.stopping.online import OnlineBelief
from probact.unrolling.begin import begin
from probact.unrolling.rollout import returned, returns_best
from probact.unrolling.walk import Unrolling

CHUNK = 1024
"""Problems that run side by side."""


def losses_at(nll: Tensor, steps: list[int]) -> dict[str, float]:
    """Mean over the problems of ``nll (K + 1, L)`` at the steps that exist, as ``{"10": 9.8, ...}``."""
    return {str(step): float(nll[step].double().mean()) for step in steps if step < len(nll)}


class Trajectory(NamedTuple):
    """K steps of one optimizer on L problems, on the CPU in double precision.

    :ivar nll: ``(K + 1, L)``, of what the optimizer returns after each step, inf where a problem diverged.
    :ivar known: what was known at theta_1..theta_K, for stop rules.
    :ivar scores: step -> loss and accuracy on the test set, at the steps asked for; empty where there is no test set.
    """

    nll: Tensor
    known: list[Known]
    scores: dict[int, Score]


def record(
    rule: UpdateRule,
    optimizee: Optimizee,
    num_steps: int,
    posterior: HaltingPosterior | None = None,
    score_at: Sequence[int] = (),
    told: bool = False,
) -> Trajectory:
    """Run ``rule`` for ``num_steps`` on all problems, ``CHUNK`` at a time, and keep what stop rules may know.

    :param told: tell a rule that plans how many steps there are.
    """
    device = next(iter(optimizee.theta0.values())).device
    chunks = torch.arange(optimizee.num, device=device).split(CHUNK)
    unrolling = Unrolling(looks=None if posterior is None else posterior.looks, total_steps=num_steps if told else None)
    parts = [_record(rule, optimizee.select(some), num_steps, posterior, score_at, unrolling) for some in chunks]
    if len(parts) == 1:
        return parts[0]

    known = []
    for rows in zip(*(part.known for part in parts), strict=True):
        step, *tables = zip(*rows, strict=True)
        loss, grad_norm, *beliefs = (None if some[0] is None else torch.cat(some) for some in tables)
        assert loss is not None
        assert grad_norm is not None
        known.append(Known(step[0], loss, grad_norm, *beliefs))
    scores = {
        step: Score(*map(torch.cat, zip(*(part.scores[step] for part in parts), strict=True)))
        for step in parts[0].scores
    }
    return Trajectory(torch.cat([part.nll for part in parts], 1), known, scores)


def _record(
    rule: UpdateRule,
    optimizee: Optimizee,
    num_steps: int,
    posterior: HaltingPosterior | None,
    score_at: Sequence[int],
    unrolling: Unrolling,
) -> Trajectory:
    scores: dict[int, Score] = {}
    with torch.no_grad():
        walk, belief = begin(rule, optimizee, unrolling=unrolling), OnlineBelief(posterior)
        losses, known = [walk.nll()], []
        for step in range(1, num_steps + 1):
            walk.move()
            losses.append(walk.nll())
            at = belief.take_in(step, walk.look())
            known.append(at.map(lambda value: value.cpu().double()))
            if step in score_at and (score := optimizee.test_score(walk.params)) is not None:
                scores[step] = Score(*(values.cpu().double() for values in score))
        return Trajectory(returned(torch.stack(losses), rule, optimizee, unrolling.looks).cpu().double(), known, scores)


def losses_after(rule: UpdateRule, optimizee: Optimizee, steps: Sequence[int], told: bool = False) -> Tensor:
    """nll of what ``rule`` returns after each of ``steps`` (ascending), ``(len(steps), L)``; inf where it diverged.

    :param told: tell a rule that plans how many steps there are: it then makes those of each of ``steps`` anew.
    """
    if told and rule.plans:
        return torch.cat([_losses_after(rule, optimizee, [step], step) for step in steps])
    return _losses_after(rule, optimizee, steps)


def _losses_after(rule: UpdateRule, optimizee: Optimizee, steps: Sequence[int], total: int | None = None) -> Tensor:
    with torch.no_grad():
        walk = begin(rule, optimizee, unrolling=Unrolling(total_steps=total))
        from_best = returns_best(rule, optimizee)
        best, losses = walk.nll(), []
        for step in steps:
            while walk.step < step:
                walk.move()
                best = torch.minimum(best, walk.nll()) if from_best else best
            losses.append(best if from_best else walk.nll())
        return torch.stack(losses)


def loss_curve(rule: UpdateRule, optimizee: Optimizee, num_steps: int) -> Tensor:
    """nll of every problem after 0..``num_steps`` steps, ``(num_steps + 1, L)``; inf where it diverged."""
    return losses_after(rule, optimizee, range(num_steps + 1))
