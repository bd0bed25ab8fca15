"""Obeying a stop rule while optimizing: q(t|x) followed step by step, a batch run until each problem has stopped."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from probact.inference.posteriors.base import POSTERIORS, HaltingPosterior
from probact.problems.base import Optimizee
from probact.rules.base import UpdateRule
from probact.stopping.base import Known, StopRule
from probact.support.sight import Sight
from probact.support.trees import Params, map_state
from probact.unrolling.begin import begin
from probact.unrolling.rollout import returns_best
from probact.unrolling.step import Seen
from probact.unrolling.walk import Unrolling


class OnlineBelief:
    """A halting posterior followed online: from what the rule saw to what a stop rule may know.

    :ivar halted, hidden: mass of q(t|x) spent so far ``(L,)`` and the head's memory; None before the first step.
    :param posterior: None: ``hazard`` and ``halted`` stay None.
    :raises ValueError: if hazards of this posterior need the whole unroll.
    """

    def __init__(self, posterior: HaltingPosterior | None) -> None:
        if posterior is not None and not posterior.distribution.online:
            online = " or ".join(name for name in POSTERIORS if POSTERIORS[name].online)
            raise ValueError(
                f"halting posterior {posterior.distribution.name!r} needs the whole unroll: expected {online}"
            )
        self.posterior = posterior
        self.halted: Tensor | None = None
        self.hidden: Tensor | None = None

    def take_in(self, step: int, seen: Seen) -> Known:
        """``seen`` at theta_step."""
        norms = [torch.linalg.vector_norm(grad.flatten(1), dim=1) for grad in seen.grads.values()]
        norm = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms), dim=0)
        hazard = None
        if self.posterior is not None:
            logit, self.hidden = self.posterior.step(seen.features, self.hidden)
            halted = torch.zeros_like(logit) if self.halted is None else self.halted
            hazard = self.posterior.distribution.hazard(logit, halted)
            self.halted = halted + (1 - halted) * hazard
        return Known(step, seen.loss, norm, hazard, self.halted, seen.expected)

    def keep(self, index: Tensor) -> None:
        """Go on with some of the problems."""
        if self.posterior is not None and self.halted is not None and self.hidden is not None:
            self.halted, self.hidden = self.halted[index], self.hidden[index]


class Stopped(NamedTuple):
    """Where each problem was stopped.

    :ivar step: ``(L,)`` int64 in 1..H.
    :ivar params: what ``rule`` returns there: theta at that step, or the best so far (``rollout.returns_best``).
    :ivar nll: -log p(x | theta) there, ``(L,)``.
    :ivar steps_computed: problem-steps that were computed, stopped ones that had not yet left the batch included.
    """

    step: Tensor
    params: Params
    nll: Tensor
    steps_computed: int


def run_until_stopped(
    rule: UpdateRule,
    optimizee: Optimizee,
    horizon: int,
    stop: StopRule,
    posterior: HaltingPosterior | None = None,
    *,
    compact: bool = True,
) -> Stopped:
    """Optimize each problem until ``stop`` says so, at most ``horizon`` steps.

    :raises ValueError: if ``stop`` reads a gradient that ``rule`` does not see, or gains that it does not expect.
    :param compact: let stopped problems leave the batch (their state, parameters and data), each time some 15 % of it
        has stopped.  Else all run to the end of the last one and are only read where they were stopped.
    """
    if stop.needs_gradient and rule.sees is not Sight.GRADIENT:
        raise ValueError(f"{stop.label}: expected a rule that sees {Sight.GRADIENT.value}, got {rule.label}")
    if stop.needs_expectation and not rule.is_expecting:
        raise ValueError(f"{stop.label}: expected a search that expects gains of its queries, got {rule.label}")
    with torch.no_grad():
        looks = None if posterior is None else posterior.looks
        walk, belief = begin(rule, optimizee, unrolling=Unrolling(looks=looks)), OnlineBelief(posterior)
        walk.is_followed = posterior is not None
        num = optimizee.num
        device = next(iter(optimizee.theta0.values())).device
        step = torch.zeros(num, dtype=torch.long, device=device)
        params = {name: tensor.clone() for name, tensor in optimizee.theta0.items()}
        best = walk.nll() if returns_best(rule, optimizee, looks) else None
        running, problem = torch.ones(num, dtype=torch.bool, device=device), torch.arange(num, device=device)
        memory: Any = None
        computed = 0
        for s in range(1, horizon + 1):
            walk.move()
            known = belief.take_in(s, walk.look())
            computed += len(problem)
            memory = stop.init(known.loss) if memory is None else memory
            score, memory = stop.checked_score(known, memory)
            stopping = running & (score >= stop.threshold) if s < horizon else running
            taken = stopping
            if best is not None:
                taken = running & (known.loss < best[problem])
                best[problem[taken]] = known.loss[taken]
            chosen = taken.nonzero().squeeze(1)
            for name, tensor in walk.params.items() if len(chosen) else ():
                params[name][problem[chosen]] = tensor[chosen]
            if bool(stopping.any()):
                step[problem[stopping]] = s
                running = running & ~stopping
                left = int(running.sum())
                if left == 0:
                    break
                if compact and left <= 0.85 * len(problem):
                    kept = running.nonzero().squeeze(1)
                    walk.keep(kept)
                    belief.keep(kept)
                    memory = map_state(lambda tensor, kept=kept: tensor[kept], memory)
                    problem, running = problem[kept], running[kept]
        nll = optimizee.nll(params)
        return Stopped(step, params, torch.where(nll.isfinite(), nll, math.inf), computed)
