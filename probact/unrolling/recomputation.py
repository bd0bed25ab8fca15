"""Unrolls without a graph, whose backward pass walks again: memory that does not grow with the number of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from probact.support.trees import map_state
from probact.unrolling.step import Carry
from probact.unrolling.walk import Walk, rows


class Recomputed(torch.autograd.Function):
    """Losses, the rule's features, signals and last parameters of an unroll, whose backward pass walks again.

    Given the gradient of an objective, whichever it is, with respect to the first two tables, a segment's part of the
    meta-gradient needs that segment's graph alone (gradient checkpointing: Chen et al. 2016, arXiv 1604.06174).  With
    truncation no gradient crosses a cut: the walk is repeated from theta_0, as far as there is a gradient, and nothing
    but the tables is kept.  Without, the carry is kept every ~sqrt(K) steps and the segments are taken backwards.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        context: Any, start: Callable[..., Walk], num_steps: int, *weights: Tensor
    ) -> tuple[Tensor, ...]:
        walk = start()
        walk.teaches = True
        context.start, context.weights = start, weights
        context.marks = []
        tables = []
        for step, row in enumerate(rows(walk, num_steps + 1)):
            tables.append(row)
            if not walk.unrolling.truncate and step % (math.isqrt(num_steps) + 1) == 0:
                context.marks.append((step, walk.carry))
        nll, features, signals = map(torch.stack, zip(*tables, strict=True))
        params = tuple(walk.params.values())
        context.mark_non_differentiable(signals, *params)
        return nll, features, signals, *params

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
    truncate = walk.unrolling.truncate
    outputs: list[tuple[Tensor, Tensor]] = []
    for step, (nll, features, _) in enumerate(rows(walk, num_rows)):
        outputs.append((nll, d_nll[step]))
        if step and truncate and step % truncate == 0:  # theta_step ends one segment, the look from it begins the next
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
        # what the rule makes of the problems' input before step 1 can depend on its weights
        walk = start(map_state(partial(_leaf, leaves), carry), first) if first else start()
        outputs: list[tuple[Tensor, Tensor]] = []
        for step, (nll, features, _) in enumerate(rows(walk, end - first), first):
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
