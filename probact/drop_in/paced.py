"""A rule at the pace that its user asks for: ``lr`` and ``weight_decay`` of parameter groups, and what stays put."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from probact.rules.base import Step, UpdateRule, Wrapper
from probact.rules.fused import stepped
from probact.rules.plan import Plan
from probact.rules.safeguarded import Safeguarded, bare
from probact.support.trees import Params, State, map_params, per_problem


class Pace(NamedTuple):
    """Of one parameter: its group's options, and whether it has a gradient now."""

    lr: float
    weight_decay: float
    has_gradient: bool

    def shorter(self, factor: float, plans: bool) -> Pace:
        """With ``factor`` on all that a step does; a rule that ``plans`` has it on its own part already."""
        if plans:
            return self._replace(weight_decay=factor * self.weight_decay)
        return self._replace(lr=factor * self.lr)


class PacedState(NamedTuple):
    """
    :ivar state: the wrapped rule's.
    :ivar reached: which coordinates have had a gradient other than 0; :ivar all_reached: whether all have, ``(L,)``.
    """

    state: State
    reached: Params
    all_reached: Tensor


class Paced(Wrapper):
    """``rule`` with its step u on the parameter theta made as::

        lr (u - weight_decay theta)    with u = 0 for coordinates whose gradient has always been 0
        0                              where there is no gradient now

    The rule is told which step was made.  With lr 1 and no weight decay nothing is changed.
    """

    def __init__(self, rule: UpdateRule, paces: Mapping[str, Pace]) -> None:
        super().__init__(rule)
        self.paces = paces
        self.recovers = rule.recovers  # type: ignore[misc]

    def init(self, params: Params) -> State:
        reached = map_params(lambda theta: torch.zeros_like(theta, dtype=torch.bool), params)
        return PacedState(self.rule.init(params), reached, next(iter(reached.values())).flatten(1)[:, 0])

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        if self.rule.is_still(state.state):  # then and after it was saved, it is of no account who has been reached
            state = state._replace(all_reached=torch.ones_like(state.all_reached))
        everywhere = bool(state.all_reached.all())
        if not everywhere:
            reached = map_params(lambda before, grad: before | (grad != 0), state.reached, grads)
            all_reached = torch.stack([part.flatten(1).all(1) for part in reached.values()]).all(0)
            state, everywhere = PacedState(state.state, reached, all_reached), bool(all_reached.all())
        proposed = stepped(self.rule, grads, state.state, params, loss)
        if self._is_own and everywhere:
            return proposed._replace(state=state._replace(state=proposed.state))
        update = {
            name: self._made(name, u if everywhere else torch.where(state.reached[name], u, 0.0), params[name])
            for name, u in proposed.update.items()
        }
        rules = self.rule.after_foreign_step(proposed.state, update)
        return proposed._replace(update=update, state=state._replace(state=rules))

    def restarted(self, state: State, lost: Tensor, params: Params) -> State:
        reached = map_params(lambda before: before & ~per_problem(lost, before), state.reached)
        still = self.rule.is_still(state.state)
        all_reached = state.all_reached if still else state.all_reached & ~lost
        return PacedState(self.rule.restarted(state.state, lost, params), reached, all_reached)

    @property
    def _is_own(self) -> bool:
        return all(pace == Pace(1.0, 0.0, True) for pace in self.paces.values())

    def _made(self, name: str, update: Tensor, theta: Tensor) -> Tensor:
        pace = self.paces[name]
        if not pace.has_gradient:
            return torch.zeros_like(update)
        return pace.lr * (update - pace.weight_decay * theta if pace.weight_decay else update)


class Pacing:
    """What was ``paced`` last, as paces seldom change from step to step."""

    def __init__(self) -> None:
        self._last: tuple[UpdateRule, Mapping[str, Pace], UpdateRule] | None = None

    def worn(self, rule: UpdateRule, paces: Mapping[str, Pace], plan: Plan | None) -> UpdateRule:
        """``paced``, and shorter with a ``plan``: a rule that does not plan as with a smaller ``lr``."""
        if plan is not None and (not rule.plans or any(pace.weight_decay for pace in paces.values())):
            factor, plans = float(plan.factor), rule.plans
            paces = {name: pace.shorter(factor, plans) for name, pace in paces.items()}
        if self._last is None or self._last[0] is not rule or self._last[1] != paces:
            self._last = rule, paces, paced(rule, paces)
        return self._last[2]


def paced(rule: UpdateRule, paces: Mapping[str, Pace]) -> UpdateRule:
    """``rule`` at these paces; a safeguard that it wears stays outside, so that the way back is gone at full length."""
    at_pace = Paced(bare(rule), paces)
    return Safeguarded(at_pace) if isinstance(rule, Safeguarded) else at_pace
