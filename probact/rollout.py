"""Running a rule on a batch of problems: the one loop of training, evaluation and (a step at a time) of use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

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
    :ivar features: ``(K, L, F)``; row t - 1 belongs to halting at t: what is seen at theta_t, the next step being
        worked out but not made; it depends on theta_0..theta_t only.
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


def _attach(nll: Tensor, grads: Params, params: Params) -> Tensor:
    """``nll (L,)`` with gradient ``grads`` with respect to ``params``, without the graph that computed it."""
    finite = nll.isfinite()
    for name, tensor in params.items():
        grad = torch.where(per_problem(finite, tensor), grads[name], 0.0)
        nll = nll + (grad * (tensor - tensor.detach())).flatten(1).sum(1)
    return nll


class Seen(NamedTuple):
    """What is seen at theta_t, the step from it being worked out but not made: all that halting at t may depend on.

    :ivar loss: ``(L,)``, what the rule descends: of a stochastic optimizee the next minibatch's.
    :ivar grads: its gradient, name -> ``(L, *shape)``.
    :ivar features: ``(L, F)``.
    """

    loss: Tensor
    grads: Params
    features: Tensor


class Walk:
    """An unroll in progress: ``observe`` and ``look`` at theta_t, then ``move`` to theta_{t+1}.

    In gradient mode (and if the rule has weights) all carry gradients to the rule's weights.  The optimizee's
    gradient is an input without graph, as in Andrychowicz et al. 2016 (no second derivatives), so that the optimizee's
    own graph is freed at once: a loss is attached to theta_t by its value and gradient.

    :param carry, step: where to begin; by default at theta_0.
    :param truncate: truncated backpropagation: cut the graph after every so many steps; None keeps it whole.
    :param through_path: keep the path of theta in the graph (DeepMind), or cut it at every step, so that a loss
        teaches only the step that led to it and, through the rule's memory, those before (the prior code).
    """

    def __init__(
        self,
        rule: UpdateRule,
        optimizee: Optimizee,
        carry: Carry | None = None,
        step: int = 0,
        *,
        truncate: int | None = None,
        through_path: bool = True,
    ) -> None:
        self.rule = rule
        self.optimizee = optimizee
        self.truncate = truncate
        self.through_path = through_path
        self.step = step
        self.carry = carry or begin(rule, optimizee.init)
        self._learning = torch.is_grad_enabled() and any(weight.requires_grad for weight in rule.parameters())
        self._nll: tuple[Tensor, Params] | None = None
        self._next: Carry | None = None

    @property
    def params(self) -> Params:
        """theta_t."""
        return self.carry.params

    def observe(self) -> Tensor:
        """-log p(x | theta_t), ``(L,)``; inf where the problem diverged."""
        params, alive = self.carry.params, self.carry.alive
        if self._learning or not self.optimizee.stochastic:
            self._nll = nll, grads = value_and_grad(self.optimizee.nll, params)
        else:
            with torch.no_grad():
                nll, grads = self.optimizee.nll(params), {}
        nll = torch.where(alive & nll.isfinite(), nll, math.inf)
        return _attach(nll, grads, params) if self._learning else nll

    def look(self) -> Seen:
        """Take in loss and gradient at theta_t and work out the next step."""
        carry = self.carry
        if self.optimizee.stochastic:
            loss, grads = value_and_grad(partial(self.optimizee.loss, step=self.step), carry.params)
        else:
            loss, grads = self._nll or value_and_grad(self.optimizee.nll, carry.params)
        if self._learning and self.truncate and self.step and self.step % self.truncate == 0:
            carry = carry._replace(state=map_state(Tensor.detach, carry.state), params=detach(carry.params))
        elif not self.through_path:
            carry = carry._replace(params=detach(carry.params))
        self._next, features = advance(self.rule, carry, loss, grads)
        return Seen(loss, grads, features)

    def move(self) -> None:
        """Make the step that the last ``look`` worked out (looks now if there was none)."""
        if self._next is None:
            self.look()
        assert self._next is not None
        self.carry, self._next, self._nll = self._next, None, None
        self.step += 1

    def keep(self, index: Tensor) -> None:
        """Go on with the problems at ``index`` (int64) alone; they go on as if the others were there."""
        self.optimizee = self.optimizee.select(index)
        self.carry = map_state(lambda tensor: tensor[index], self.carry)
        self._next = None if self._next is None else map_state(lambda tensor: tensor[index], self._next)
        self._nll = None


def unroll(
    rule: UpdateRule,
    optimizee: Optimizee,
    horizon: int | Tensor,
    *,
    truncate: int | None = None,
    through_path: bool = True,
    recompute: bool = False,
) -> Rollout:
    """Run ``rule`` on ``optimizee`` for K steps: a whole ``Walk``.

    :param horizon: the number of steps K, or ``(L,)`` int64 with each problem's T: then K = max T.
    :param recompute: keep no graph, and work the steps out again when the gradient is asked for: the same gradient in
        the memory of ``truncate`` steps, or without truncation of ~2 sqrt(K) steps, for one more forward pass.
    """
    num_steps = int(horizon.max()) if isinstance(horizon, Tensor) else horizon
    start = partial(Walk, rule, optimizee, truncate=truncate, through_path=through_path)
    weights = [weight for weight in rule.parameters() if weight.requires_grad]
    if recompute and torch.is_grad_enabled() and weights:
        nll, features, *tensors = _Recomputed.apply(start, num_steps, *weights)
        params = dict(zip(optimizee.init, tensors, strict=True))
    else:
        walk = start()
        nll, features = map(torch.stack, zip(*_rows(walk, num_steps + 1), strict=True))
        params = detach(walk.params)
    return Rollout(nll, features[1:], params, horizon if isinstance(horizon, Tensor) else None)


def _rows(walk: Walk, num: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Loss ``(L,)`` and features ``(L, F)`` at ``num`` steps from here on; the walk ends at the last one's theta."""
    for row in range(num):
        if row:
            walk.move()
        yield walk.observe(), walk.look().features


class _Recomputed(torch.autograd.Function):
    """The losses and features of a whole unroll, whose backward pass walks again, a segment at a time.

    Given the gradient of an objective, whichever it is, with respect to these two tables, a segment's part of the
    meta-gradient needs that segment's graph alone (gradient checkpointing: Chen et al. 2016, arXiv 1604.06174).  With
    truncation no gradient crosses a cut: the walk is repeated from theta_0, as far as there is a gradient, and nothing
    but the tables is kept.  Without, the carry is kept every ~sqrt(K) steps and the segments are taken backwards.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        context: Any, start: Callable[..., Walk], num_steps: int, *weights: Tensor
    ) -> tuple[Tensor, ...]:
        walk = start()
        context.start, context.weights = start, weights
        context.marks = []
        tables = []
        for step, row in enumerate(_rows(walk, num_steps + 1)):
            tables.append(row)
            if not walk.truncate and step % (math.isqrt(num_steps) + 1) == 0:
                context.marks.append((step, walk.carry))
        nll, features = map(torch.stack, zip(*tables, strict=True))
        params = tuple(walk.params.values())
        context.mark_non_differentiable(*params)
        return nll, features, *params

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, d_nll: Tensor, d_features: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        with torch.enable_grad():
            walk_back = partial(_from_marks, context.marks) if context.marks else _from_the_start
            segments = walk_back(context.start, context.weights, d_nll, d_features)
            totals = [sum(parts) for parts in zip(*segments, strict=True)]
        return None, None, *totals


def _from_the_start(
    start: Callable[..., Walk], weights: Sequence[Tensor], d_nll: Tensor, d_features: Tensor
) -> Iterator[list[Tensor]]:
    """Gradient of each truncated segment with respect to ``weights``, in order."""
    used = (d_nll != 0).any(1) | (d_features != 0).flatten(1).any(1)
    num_rows = len(used) - int(used.flip(0).int().argmax()) if bool(used.any()) else 0
    walk = start()
    outputs: list[tuple[Tensor, Tensor]] = []
    for step, (nll, features) in enumerate(_rows(walk, num_rows)):
        outputs.append((nll, d_nll[step]))
        if (
            step and walk.truncate and step % walk.truncate == 0
        ):  # theta_step ends one segment, the look from it begins the next
            yield _gradient(outputs, weights)
            outputs.clear()
        outputs.append((features, d_features[step]))
    yield _gradient(outputs, weights)


def _from_marks(
    marks: Sequence[tuple[int, Carry]],
    start: Callable[..., Walk],
    weights: Sequence[Tensor],
    d_nll: Tensor,
    d_features: Tensor,
) -> Iterator[list[Tensor]]:
    """Gradient of each segment from one of ``marks`` (step, carry) to the next, the last first, the carry's in hand."""
    end = len(d_nll)
    d_carry: list[Tensor] = []
    for first, carry in reversed(marks):
        leaves: list[Tensor] = []
        reached: list[Tensor] = []
        walk = start(map_state(partial(_leaf, leaves), carry), first)
        outputs: list[tuple[Tensor, Tensor]] = []
        for step, (nll, features) in enumerate(_rows(walk, end - first), first):
            outputs += [(nll, d_nll[step]), (features, d_features[step])]
        if d_carry:
            walk.move()
            map_state(reached.append, walk.carry)
            outputs += zip((tensor for tensor in reached if tensor.is_floating_point()), d_carry, strict=True)
        gradient = _gradient(outputs, [*weights, *leaves])
        d_carry, end = gradient[len(weights) :], first
        yield gradient[: len(weights)]


def _leaf(leaves: list[Tensor], tensor: Tensor) -> Tensor:
    """``tensor`` as the beginning of a graph, also put into ``leaves``, if it can have a gradient."""
    if not tensor.is_floating_point():
        return tensor
    leaves.append(tensor.detach().requires_grad_())
    return leaves[-1]


def _gradient(outputs: Sequence[tuple[Tensor, Tensor]], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Vector-Jacobian product of the ``(output, its gradient)`` pairs with respect to ``inputs``."""
    pairs = [(output, gradient) for output, gradient in outputs if output.requires_grad]
    if not pairs:
        return [torch.zeros_like(tensor) for tensor in inputs]
    reached, gradients = zip(*pairs, strict=True)
    return [*torch.autograd.grad(reached, inputs, gradients, materialize_grads=True)]


def detach(params: Params) -> Params:
    """The same values without graph."""
    return map_params(Tensor.detach, params)
