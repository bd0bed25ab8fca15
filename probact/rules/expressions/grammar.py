"""Formulas of update rules as trees: operands, unary and binary functions, and what they mean.

The grammar is that of Neural Optimizer Search (Bello, Zoph, Vasudevan and Le 2017, arXiv 1709.07417, section 4), with
``momentum`` and ``restart`` beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from probact.rules.plan import Plan
from probact.support.randomness import BITS, uniform_bits

DECAYS: Mapping[str, float] = {"m": 0.9, "v": 0.999, "gamma": 0.999, "square": 0.99}
"""Running means of g, g^2, g^3 and, for ``rmsprop``, of g^2: mean <- decay mean + (1 - decay) power of g."""
POWERS: Mapping[str, int] = {"m": 1, "v": 2, "gamma": 3, "square": 2}
EPS = 1e-8
"""In ``adam`` and ``rmsprop`` what is added to the root, in ``x / y`` what is added to y."""
LARGEST_EXPONENT = 20.0
NOISE = 0.1
"""Standard deviation of ``noise``."""
RESTARTS = 4
"""Periods of ``restart``."""


def next_mean(name: str, mean: Tensor, grad: Tensor) -> Tensor:
    """Of a running mean of ``DECAYS`` the next: decay mean + (1 - decay) g^power."""
    decay, power = DECAYS[name], POWERS[name]
    return decay * mean + (1 - decay) * (grad if power == 1 else grad * grad if power == 2 else grad**power)


class Node(NamedTuple):
    """A tree: the name of an operand, or of a function and what it is of."""

    name: str
    children: tuple[Node, ...] = ()


class Seen(NamedTuple):
    """What a formula is worked out from, for one parameter ``(L, *shape)``.

    :ivar grad, theta: ``(L, *shape)``.
    :ivar means: the running means of ``DECAYS`` that are needed, not corrected, each ``(L, *shape)``.
    :ivar steps: steps so far with this one, ``(L,)`` int64.
    :ivar plan: how many steps there are.
    :ivar draw: place in the tree -> ``uniform`` for this step, ``(L, n)`` of the gradient's type.
    """

    grad: Tensor
    theta: Tensor
    means: Mapping[str, Tensor]
    steps: Tensor
    plan: Plan
    draw: Callable[[int], Tensor]

    def a_problem(self, values: Tensor) -> Tensor:
        """``values (L,)`` so that they broadcast."""
        return values.reshape(-1, *(1,) * (self.grad.dim() - 1))

    def mean(self, name: str) -> Tensor:
        """A running mean, corrected for its start at 0: divided by 1 - decay^steps (Kingma and Ba 2015)."""
        return self.means[name] / self.correction(name)

    def correction(self, name: str) -> Tensor:
        """1 - decay^steps, of the gradient's type."""
        return self.a_problem((1 - DECAYS[name] ** self.steps.double()).to(self.grad.dtype))

    def uniform(self, place: int) -> Tensor:
        """Uniform in (0, 1), ``(L, *shape)``: another draw for each ``place`` in the tree."""
        return self.draw(place).view_as(self.grad)

    def normal(self, place: int) -> Tensor:
        """Standard normal, as ``uniform``."""
        return math.sqrt(2) * torch.erfinv((2 * self.uniform(place) - 1).clamp(-1 + 1e-7, 1 - 1e-7))


def uniform(keys: Tensor, steps: Tensor, coordinates: Tensor, place: int) -> Tensor:
    """Uniform in (0, 1), ``(L, n)`` in double precision: a function of its arguments alone.

    :param keys, steps: ``(L,)`` int64; :param coordinates: ``(n,)`` int64, their places in the problem.
    """
    counter = steps.unsqueeze(-1) * 2**40 + coordinates
    bits = uniform_bits(uniform_bits(keys, torch.full_like(keys, place)).unsqueeze(-1), counter)
    return (bits.double() + 0.5) / 2.0**BITS


class Operand(NamedTuple):
    """:ivar value: of what is seen and of the place in the tree; :ivar means: the running means that it needs."""

    value: Callable[[Seen, int], Tensor]
    means: tuple[str, ...] = ()
    plans: bool = False


def _constant(number: float) -> Operand:
    return Operand(lambda seen, _: seen.grad.new_tensor(number))


def _decayed(share: float) -> Operand:
    return Operand(lambda seen, _: share * seen.theta)


def _restarting(seen: Seen) -> Tensor:
    """Half a cosine from 1 to 0, ``RESTARTS`` times (Loshchilov and Hutter 2017); 1 where nobody knows of an end."""
    done = ((1 - seen.plan.factor) * RESTARTS) % 1.0
    return seen.a_problem((1 + torch.cos(math.pi * done)) / 2)


OPERANDS: Mapping[str, Operand] = {
    "g": Operand(lambda seen, _: seen.grad),
    "g2": Operand(lambda seen, _: seen.grad**2),
    "g3": Operand(lambda seen, _: seen.grad**3),
    "m": Operand(lambda seen, _: seen.mean("m"), ("m",)),
    "v": Operand(lambda seen, _: seen.mean("v"), ("v",)),
    "gamma": Operand(lambda seen, _: seen.mean("gamma"), ("gamma",)),
    "1": _constant(1.0),
    "2": _constant(2.0),
    "noise": Operand(lambda seen, place: NOISE * seen.normal(place)),
    "1e-4w": _decayed(1e-4),
    "1e-3w": _decayed(1e-3),
    "1e-2w": _decayed(1e-2),
    "1e-1w": _decayed(1e-1),
    "adam": Operand(lambda seen, _: seen.mean("m") / (seen.mean("v").sqrt() + EPS), ("m", "v")),
    "rmsprop": Operand(lambda seen, _: seen.grad / (seen.means["square"].sqrt() + EPS), ("square",)),
    "momentum": Operand(lambda seen, _: seen.means["m"] / (1 - DECAYS["m"]), ("m",)),
    "linear": Operand(lambda seen, _: seen.a_problem(seen.plan.factor), plans=True),
    "cosine": Operand(lambda seen, _: seen.a_problem(seen.plan.cosine), plans=True),
    "restart": Operand(lambda seen, _: _restarting(seen), plans=True),
}
"""``g2`` is g^2, ``gamma`` the running mean of g^3, ``1e-4w`` 1e-4 theta; the last three fall from 1 to 0 by a plan."""


def _clip(bound: float) -> Callable[[Tensor, Seen, int], Tensor]:
    return lambda x, seen, place: x.clamp(-bound, bound)


def _drop(share: float) -> Callable[[Tensor, Seen, int], Tensor]:
    return lambda x, seen, place: x * (seen.uniform(place) >= share)


UNARY: Mapping[str, Callable[[Tensor, Seen, int], Tensor]] = {
    "identity": lambda x, seen, place: x,
    "-": lambda x, seen, place: -x,
    "exp": lambda x, seen, place: x.clamp_max(LARGEST_EXPONENT).exp(),
    "log": lambda x, seen, place: x.abs().log(),
    "sqrt": lambda x, seen, place: x.abs().sqrt(),
    "clip 1e-5": _clip(1e-5),
    "clip 1e-4": _clip(1e-4),
    "clip 1e-3": _clip(1e-3),
    "drop .1": _drop(0.1),
    "drop .3": _drop(0.3),
    "drop .5": _drop(0.5),
    "sign": lambda x, seen, place: x.sign(),
}
"""``log`` and ``sqrt`` are of |x|; ``clip 1e-4`` is clip(x, 1e-4), to +-1e-4; ``drop .1`` puts 0 for one in ten."""
BINARY: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "+": torch.add,
    "-": torch.sub,
    "*": torch.mul,
    "/": lambda x, y: x / (y + EPS),
    "left": lambda x, y: x,
}
"""``left(x, y)`` is x."""
COMMUTATIVE = ("+", "*")


def nodes(tree: Node) -> Iterator[Node]:
    """All of them, the root first."""
    yield tree
    for child in tree.children:
        yield from nodes(child)


def operands(tree: Node) -> Iterator[Operand]:
    """Those in it."""
    return (OPERANDS[node.name] for node in nodes(tree) if not node.children)


def means_of(tree: Node) -> set[str]:
    """The running means that it needs."""
    return {name for operand in operands(tree) for name in operand.means}


def plans(tree: Node) -> bool:
    """Whether it makes use of a plan."""
    return any(operand.plans for operand in operands(tree))


def value(tree: Node, seen: Seen, place: int = 1) -> Tensor:
    """What it says, of a shape that broadcasts to the parameter's.

    :param place: number of the root, of its children 2 and 3 times as much in a heap: random numbers differ by it.
    """
    if not tree.children:
        return OPERANDS[tree.name].value(seen, place)
    parts = [value(child, seen, 2 * place + side) for side, child in enumerate(tree.children)]
    if len(parts) == 1:
        return UNARY[tree.name](parts[0], seen, place)
    return BINARY[tree.name](parts[0], parts[1])


def direction(tree: Node, seen: Seen) -> Tensor:
    """``value`` as the whole parameter's, with 0 where it is not finite."""
    return torch.nan_to_num(value(tree, seen), nan=0.0, posinf=0.0, neginf=0.0).expand_as(seen.grad)
