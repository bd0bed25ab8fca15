"""Steps fused by ``torch.compile``: for long trainings of small problems, whose steps are overhead more than work."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from probact.problems.base import Optimizee
from probact.rules.base import UpdateRule
from probact.support import compiling
from probact.support.trees import Params, map_state
from probact.unrolling.step import Carry
from probact.unrolling.walk import Unrolling, Walk

SEGMENT = 4
"""Steps of one compiled graph: with more, each is a little faster and the first call takes longer."""

Row = tuple[Tensor, Tensor, Tensor]


def compiled_rows(start: Callable[..., Walk], num: int) -> tuple[list[Row], Params]:
    """``walk.rows`` of a whole unroll in gradient mode, ``SEGMENT`` steps at a time, and its last parameters.

    Where the compiler does not work (no C++ compiler on the machine, say), one line says so and the steps are made one
    by one.  Truncation cuts between segments: it has to be a multiple of ``SEGMENT``.
    """
    walk = start()
    truncate, uncut = walk.unrolling.truncate, walk.unrolling._replace(truncate=None)
    losses: list[Tensor] = [walk.nll()]
    passed: list[tuple[Tensor, Tensor]] = []
    while num - len(losses) >= SEGMENT and not compiling.failures:
        step = len(passed)
        begins = step == 0 or (truncate and step % truncate == 0)
        carry = map_state(_leaf, walk.carry) if begins else walk.carry
        try:
            carry, known, (nll, features, signals) = _compile()(
                walk.rule, walk.optimizee, carry, torch.tensor(step), walk.known, uncut
            )
        except Exception as error:
            compiling.give_up(error)
            break
        losses += nll.unbind(0)
        passed += zip(features.unbind(0), signals.unbind(0), strict=True)
        walk = start(carry, len(passed), known)
    while len(losses) < num:
        passed.append(walk.propose())
        walk.move()
        losses.append(walk.nll())
    passed.append(walk.propose())
    return [(nll, *seen) for nll, seen in zip(losses, passed, strict=True)], walk.params


def _segment(
    rule: UpdateRule,
    optimizee: Optimizee,
    carry: Carry,
    step: Any,
    known: tuple[Tensor, Params],
    unrolling: Unrolling,
) -> tuple[Carry, tuple[Tensor, Params] | None, tuple[Tensor, ...]]:
    """From theta_s, observed already: losses at the next ``SEGMENT`` thetas, features and signals at those left.

    ``step`` is a tensor: as a number each of its values would be compiled for itself.
    """
    walk = Walk(rule, optimizee, carry, step, known, unrolling)
    rows = []
    for _ in range(SEGMENT):
        features, signals = walk.propose()
        walk.move()
        rows.append((walk.nll(), features, signals))
    return walk.carry, walk.known, tuple(map(torch.stack, zip(*rows, strict=True)))


def _leaf(tensor: Tensor) -> Tensor:
    """The beginning of a graph, always one with a gradient, so that all segments are compiled to the same code."""
    return tensor.detach().requires_grad_() if tensor.is_floating_point() else tensor


@cache
def _compile() -> Any:
    return compiling.compiled(_segment)
