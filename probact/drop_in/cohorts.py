"""Parameters that have been optimized since the same step: each such cohort is one problem of the rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from probact.drop_in.paced import paced
from probact.drop_in.parameters import owned, read
from probact.rules.base import UpdateRule
from probact.rules.plan import Plan
from probact.rules.safeguarded import Guard
from probact.support.trees import Params, leaves
from probact.unrolling.step import Carry, Proposed, Seen, init, propose, see


class Cohort(NamedTuple):
    """:ivar names: of the parameters; :ivar carry: without the parameters themselves."""

    names: tuple[str, ...]
    carry: Carry

    @classmethod
    def begin(cls, rule: UpdateRule, params: Mapping[str, Tensor], names: Sequence[str], like: Tensor) -> Cohort:
        theta = {name: read(params[name], like) for name in names}
        return cls(tuple(names), owned(init(paced(rule, {}), theta)._replace(params={}), theta.values()))

    @classmethod
    def of_form(
        cls,
        rule: UpdateRule,
        params: Mapping[str, Tensor],
        names: Sequence[str],
        like: Tensor,
        saved: Sequence[Tensor],
    ) -> Cohort:
        """One that begins, with a memory of the form that has tensors as those ``saved``, if there is one."""
        begun = cls.begin(rule, params, names, like)
        shapes = [tensor.shape for tensor in saved]
        for form in paced(rule, {}).forms({name: read(params[name], like) for name in names}):
            carry = begun.carry._replace(state=form)
            if [tensor.shape for tensor in leaves(carry)] == shapes:
                return begun._replace(carry=carry)
        return begun

    def widened(self, rule: UpdateRule) -> Carry:
        """The carry in the form in which it began, where it can have it."""
        return self.carry._replace(state=paced(rule, {}).widened(self.carry.state))

    def back(self, rule: UpdateRule, loss: Tensor) -> Carry:
        """The carry at its best parameters, where the rule starts afresh, if ``loss (1,)`` is above that there."""
        guard = self.carry.state
        if not isinstance(guard, Guard) or bool(loss <= guard.bar):
            return self.carry
        fresh = paced(rule, {}).init(guard.best_params)
        return self.carry._replace(params=guard.best_params, state=guard._replace(state=fresh.state))


class Ahead(NamedTuple):
    """:ivar update: the step of each parameter; :ivar carry: after it, without the parameters."""

    update: Params
    carry: Carry


def look(
    worn: UpdateRule,
    cohorts: Sequence[Cohort],
    params: Mapping[str, Tensor],
    loss: Tensor,
    grads: Params,
    plan: Plan | None = None,
    is_followed: bool = True,
    is_finite: bool = False,
) -> tuple[Seen, dict[int, Ahead]]:
    """What is seen at the parameters, and the steps of the cohorts (by their places) that it leads to.

    A cohort without any gradient waits; single parameters without are seen with gradient 0.  The memory of what
    halting sees is the first cohort's.

    :param worn: the rule at its paces, see ``Pacing``.
    :param plan: how many steps there are.
    :param is_followed: whether halting sees any of it; else what only halting sees is not worked out.
    :param is_finite: whether loss and gradients are known to be.
    :param loss: ``(1,)``; :param grads: name -> ``(1, *shape)``, of those that have one.
    """
    ahead: dict[int, Ahead] = {}
    proposals, everywhere = [], {}
    for place, cohort in enumerate(cohorts):
        if not any(name in grads for name in cohort.names):
            continue
        theta = {name: read(params[name], loss) for name in cohort.names}
        seen = {name: grads[name] if name in grads else torch.zeros_like(theta[name]) for name in cohort.names}
        update, carry, proposed = propose(
            worn, cohort.carry._replace(params=theta), loss, seen, plan, is_followed, is_finite
        )
        carry = owned(carry._replace(params={}), [*theta.values(), *seen.values(), *update.values()], cohort.carry)
        ahead[place] = Ahead(update, carry)
        proposals.append((sum(tensor.numel() for tensor in theta.values()), proposed))
        everywhere.update(seen)
    if not is_followed:
        return Seen(loss, everywhere, proposals[0][1].features), ahead
    first = ahead.get(0, Ahead({}, cohorts[0].carry))
    seen_there, carry = see(loss, everywhere, _joined(proposals), first.carry)
    return seen_there, {**ahead, 0: first._replace(carry=carry)}


def _joined(proposals: Sequence[tuple[int, Proposed]]) -> Proposed:
    """What all steps together look like; the rule's features are averaged by numbers of coordinates."""
    if len(proposals) == 1:
        return proposals[0][1]
    total = sum(size for size, _ in proposals)
    features = torch.stack([proposed.features * (size / total) for size, proposed in proposals]).sum(0)
    signals = torch.stack([proposed.signals for _, proposed in proposals])
    return Proposed(features, torch.cat([signals[0, :1], signals[:, 1:].sum(0)]))
