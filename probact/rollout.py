"""Running a rule on a batch of problems: the one loop of training, evaluation and (a step at a time) of use."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from probact import features as progress_features
from probact.optimizees.base import Optimizee, Params, map_params, per_problem, value_and_grad
from probact.rules.base import State, UpdateRule, map_state


class Carry(NamedTuple):
    """All that goes from step to step: parameters, the rule's and the features' memory, ``alive (L,)`` bool."""

    params: Params
    state: State
    progress: progress_features.Progress
    alive: Tensor


class Rollout(NamedTuple):
    """K steps on L problems.

    :ivar nll: ``(K + 1, L)``, -log p(x | theta_t) for t = 0..K; inf from the step on at which a problem diverged.
    :ivar features: ``(K, L, F)``; row t - 1 belongs to step t and depends on steps 1..t only.
    :ivar params: theta_K.
    :ivar horizon: ``(L,)`` int64, the T of each problem drawn before the unroll, or None.
    """

    nll: Tensor
    features: Tensor
    params: Params
    horizon: Tensor | None = None

    @property
    def log_likelihood(self) -> Tensor:
        """log p(x | t) for t = 1..K, ``(K, L)``."""
        return -self.nll[1:]

    def finite(self) -> Rollout:
        """The problems that did not diverge."""
        kept = self.nll.isfinite().all(0)
        if bool(kept.all()):
            return self
        horizon = None if self.horizon is None else self.horizon[kept]
        params = map_params(lambda tensor: tensor[kept], self.params)
        return Rollout(self.nll[:, kept], self.features[:, kept], params, horizon)


def begin(rule: UpdateRule, params: Params) -> Carry:
    """The carry before step 1 at ``params`` = theta_0."""
    like = next(iter(params.values()))
    zero = like.new_zeros(len(like))
    return Carry(params, rule.init(params), progress_features.start(zero), zero == 0)


def _zero_unless(kept: Tensor, params: Params) -> Params:
    return map_params(lambda tensor: torch.where(per_problem(kept, tensor), tensor, 0.0), params)


def advance(rule: UpdateRule, carry: Carry, loss: Tensor, grads: Params) -> tuple[Carry, Tensor]:
    """One step: theta_{t+1} from loss ``(L,)`` and gradient at theta_t, and the features ``(L, F)`` of this step.

    F = ``rule.num_features + features.NUM_FEATURES``.  A problem whose loss or gradient is not finite stops where it
    is, for good: divergence is data, never NaN in the rule's weights.
    """
    finite = torch.stack([loss.isfinite(), *(g.isfinite().flatten(1).all(1) for g in grads.values())]).all(0)
    alive = carry.alive & finite
    if not (all_alive := bool(alive.all())):
        loss, grads = torch.where(alive, loss, 0.0), _zero_unless(alive, grads)
    step = rule.step(grads, carry.state, carry.params, loss)
    update = step.update if all_alive else _zero_unless(alive, step.update)
    seen, progress = progress_features.observe(carry.progress, loss, grads, update)
    params = map_params(torch.add, carry.params, update)
    return Carry(params, step.state, progress, alive), torch.cat([step.features, seen], -1)


def _observe(optimizee: Optimizee, carry: Carry, *, with_grads: bool) -> tuple[Tensor, Params]:
    """-log p(x | theta_t) ``(L,)``, inf where the problem diverged, and its gradient (empty if not asked for)."""
    if with_grads:
        nll, grads = value_and_grad(optimizee.nll, carry.params)
    else:
        with torch.no_grad():
            nll, grads = optimizee.nll(carry.params), {}
    return torch.where(carry.alive & nll.isfinite(), nll, math.inf), grads


def _attach(nll: Tensor, grads: Params, params: Params) -> Tensor:
    """``nll (L,)`` with gradient ``grads`` with respect to ``params``, without the graph that computed it."""
    finite = nll.isfinite()
    for name, tensor in params.items():
        grad = torch.where(per_problem(finite, tensor), grads[name], 0.0)
        nll = nll + (grad * (tensor - tensor.detach())).flatten(1).sum(1)
    return nll


def unroll(
    rule: UpdateRule,
    optimizee: Optimizee,
    horizon: int | Tensor,
    *,
    truncate: int | None = None,
    through_path: bool = True,
) -> Rollout:
    """Run ``rule`` on ``optimizee``; in gradient mode the result carries gradients to the rule's weights.

    The optimizee's gradient is an input without graph, as in Andrychowicz et al. 2016 (no second derivatives), so
    that the optimizee's own graph is freed at once: a loss is attached to theta_t by its value and gradient.

    :param horizon: the number of steps K, or ``(L,)`` int64 with each problem's T: then K = max T.
    :param truncate: truncated backpropagation: cut the graph after every so many steps; None keeps it whole.
    :param through_path: keep the path of theta in the graph (DeepMind), or cut it at every step, so that a loss
        teaches only the step that led to it and, through the rule's memory, those before (the prior code).
    """
    num_steps = int(horizon.max()) if isinstance(horizon, Tensor) else horizon
    learning = torch.is_grad_enabled() and any(weight.requires_grad for weight in rule.parameters())
    carry = begin(rule, optimizee.init)
    losses, features = [], []
    for step in range(num_steps + 1):
        descends_nll = not optimizee.stochastic and step < num_steps
        nll, grads = _observe(optimizee, carry, with_grads=learning or descends_nll)
        losses.append(_attach(nll, grads, carry.params) if learning else nll)
        if step == num_steps:
            break
        loss = nll
        if optimizee.stochastic:
            loss, grads = value_and_grad(partial(optimizee.loss, step=step), carry.params)
        if learning and truncate and step and step % truncate == 0:
            carry = carry._replace(state=map_state(Tensor.detach, carry.state), params=detach(carry.params))
        elif not through_path:
            carry = carry._replace(params=detach(carry.params))
        carry, seen = advance(rule, carry, loss, grads)
        features.append(seen)
    drawn = horizon if isinstance(horizon, Tensor) else None
    return Rollout(torch.stack(losses), torch.stack(features), detach(carry.params), drawn)


def detach(params: Params) -> Params:
    """The same values without graph."""
    return map_params(Tensor.detach, params)
