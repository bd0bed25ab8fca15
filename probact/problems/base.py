"""What an optimizer is trained on: a batch of L problems (``Optimizee``), and where they come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor
from torch.distributions import Distribution

from probact.support.refusals import naming, said
from probact.support.registry import Registry
from probact.support.sight import Sight
from probact.support.trees import Params, map_params

HELD_OUT_ROWS = 1000


class Score(NamedTuple):
    """How L networks do on a test set.

    :ivar loss: mean over its rows, ``(L,)`` in nats.
    :ivar accuracy: share that is classified right, ``(L,)``; NaN for what is not a classifier.
    """

    loss: Tensor
    accuracy: Tensor


class Labels(NamedTuple):
    """What classifiers say of held-out rows.

    :ivar probabilities: of each class, ``(L, n, C)``.
    :ivar labels: the true ones, ``(L, n)`` int64 in 0..C-1; -1 for a row that a problem has seen in x.
    """

    probabilities: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Optimizee(ABC):
    """A batch of L problems, each with its own parameters theta.

    Every tensor field (and every tensor of ``theta0``) has L as its first dimension, and problem l reads row l
    of each only: no leak between problems.  A field that all problems share is wrapped in ``Shared``; a field can be an
    ``Optimizee`` itself.

    :ivar theta0: theta_0.
    """

    theta0: Params

    shows: ClassVar[tuple[Sight, ...]] = (Sight.GRADIENT,)
    """What a rule may be shown of it."""

    def given(self) -> Params | None:
        """What it gives before the first step, name -> ``(L, ...)``: the input of a computation; None for none."""
        return None

    @property
    def stochastic(self) -> bool:
        """True where ``loss`` is not ``nll``: a minibatch, another data set."""
        return False

    @property
    def quadratic(self) -> bool:
        """Whether ``nll`` is a quadratic function of the parameters."""
        return False

    @abstractmethod
    def nll(self, params: Params) -> Tensor:
        """-log p(x | theta) of the observations x, ``(L,)`` in nats: a sum over x, the same x at every step."""

    def predictive(self, params: Params) -> Distribution | None:
        """p(. | theta) of each problem, batch ``(L,)``: ``nll`` is -log of it at ``observations``.

        None where ``nll`` is a loss that is no density of observations, by default.
        """
        return None

    def observations(self) -> Tensor | None:
        """x as ``predictive`` has it, ``(L, n, ...)``, or None without a predictive distribution."""
        return None

    def loss(self, params: Params, step: int) -> Tensor:
        """What the optimizer descends from theta_step to theta_{step+1}, ``(L,)``; by default ``nll``."""
        return self.nll(params)

    def optimum(self) -> Tensor | None:
        """Smallest ``nll`` of each problem, ``(L,)``, or None where it is not known."""
        return None

    def size(self) -> Tensor | None:
        """How much there is to do in each problem, ``(L,)`` int64, or None where the family does not count it."""
        return None

    def test_score(self, params: Params) -> Score | None:
        """Loss and accuracy on the whole test set, or None for what has none; costly, and never part of training."""
        return None

    def held_out_labels(self, params: Params) -> Labels | None:
        """Of up to ``HELD_OUT_ROWS`` rows that no training saw, or None for what has none or predicts no labels."""
        return None

    @property
    def num(self) -> int:
        """L."""
        return next(iter(self.theta0.values())).shape[0]

    def select(self, index: Tensor) -> Self:
        """The problems at ``index`` (bool mask or int64)."""
        return self._map(lambda tensor: tensor[index])

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Every floating tensor moved or cast as ``Tensor.to``; integers keep their type."""
        device = torch.empty(0).to(*args, **kwargs).device

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(*args, **kwargs) if tensor.is_floating_point() else tensor.to(device)

        return self._map(move, lambda shared: shared.moved(move, (args, tuple(kwargs.items()))))

    def _map(self, function: Any, of_shared: Any = lambda shared: shared) -> Self:
        changed: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, Shared):
                changed[entry.name] = of_shared(value)
            elif isinstance(value, Optimizee):
                changed[entry.name] = value._map(function, of_shared)
            elif isinstance(value, Tensor):
                changed[entry.name] = function(value)
            elif isinstance(value, dict):
                changed[entry.name] = map_params(function, value)
        return replace(self, **changed)


@dataclass(frozen=True)
class Shared:
    """Tensors that all L problems read, such as a data set; ``Optimizee.select`` leaves them whole."""

    tensors: tuple[Tensor, ...]
    _moved: dict[Any, Shared] = field(default_factory=dict, init=False, repr=False, compare=False)

    def moved(self, move: Callable[[Tensor], Tensor], where: Any) -> Shared:
        """``move`` of every tensor, once for each ``where``: a data set is not copied with every batch of problems."""
        if where not in self._moved:
            self._moved[where] = Shared(tuple(move(tensor) for tensor in self.tensors))
        return self._moved[where]


class OptimizeeFamily(ABC):
    """A distribution over problems.

    Subclasses register a name in ``FAMILIES``; keyword parameters with defaults become
    ``--family-option KEY=VALUE``.
    """

    name: ClassVar[str]
    quadratic: ClassVar[bool] = False
    """Whether ``nll`` of its problems is a quadratic function of the parameters."""
    shows: ClassVar[tuple[Sight, ...]] = (Sight.GRADIENT,)
    """What a rule may be shown of its problems: their own ``shows``; the first is what they are for."""
    has_unit: ClassVar[bool] = False
    """Whether its values have a unit of their own, so that a step can have a price in it: see ``priced``."""
    recommended: ClassVar[Mapping[str, Any]] = {}
    """Experiment settings (field -> value) that suit this family better than the general defaults."""

    @property
    def label(self) -> str:
        """For messages: ``family 'quadratic'``."""
        return f"family {getattr(self, 'name', type(self).__name__)!r}"

    @property
    def members(self) -> Sequence[OptimizeeFamily]:
        """Of a mixture the families that it mixes, which are validated on, tuned and judged one by one; else itself."""
        return (self,)

    def priced(self, price: float, cost: float) -> Self:
        """The same where a step costs ``price`` in the unit of the problems' values (0: their own), ``cost`` in nats.

        :raises ValueError: if they have none, as their loss is in nats itself.
        """
        having = ", ".join(name for name in FAMILIES if FAMILIES[name].has_unit)
        raise ValueError(f"price: expected a family with a unit of its own ({having}), got {self.label}: it is in nats")

    @property
    def for_tests(self) -> OptimizeeFamily:
        """Where test problems come from: itself, unless it keeps data that no training sees."""
        return self

    @abstractmethod
    def sample(self, num: int, generator: torch.Generator) -> Optimizee:
        """Draw ``num`` problems; the same generator state gives the same problems."""


FAMILIES: Registry[OptimizeeFamily] = Registry("family", OptimizeeFamily, "probact.families")
"""Every family by its name."""


def check_problems(problems: Any) -> None:
    """:raises ValueError: unless they are an ``Optimizee`` whose theta_0 is of floating-point tensors ``(L, ...)``."""
    if not isinstance(problems, Optimizee):
        raise ValueError(f"expected an Optimizee, got {said(problems)}")
    theta0, what = problems.theta0, f"theta0 of {type(problems).__name__}"
    if not isinstance(theta0, dict) or not theta0:
        raise ValueError(f"{what}: expected a dict of parameters, got {said(theta0)}")
    for name, tensor in theta0.items():
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or tensor.dim() < 2:
            raise ValueError(
                f"{what}: expected {name!r} to be a floating-point parameter of each of L problems, shape (L, ...), "
                f"got {said(tensor)}"
            )
    if len({len(tensor) for tensor in theta0.values()}) > 1:
        shapes = ", ".join(f"{name!r} of {tuple(tensor.shape)}" for name, tensor in theta0.items())
        raise ValueError(f"{what}: expected parameters of the same L problems, got {shapes}")


def value_and_grad(function: Any, params: Params) -> tuple[Tensor, Params]:
    """``function(params) (L,)`` and its gradient with respect to each problem's own parameters, both detached.

    Problems do not share parameters, so the gradient of the sum is each problem's gradient.

    :raises ValueError: if what ``function`` returns has another shape, or no gradient.
    """
    if torch.compiler.is_compiling():  # which knows torch.func, not torch.autograd.grad
        grads, values = torch.func.grad(lambda at: ((found := function(at)).sum(), found), has_aux=True)(
            {name: tensor.detach() for name, tensor in params.items()}
        )
        return values.detach(), {name: grad.detach() for name, grad in grads.items()}
    with torch.enable_grad():
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in params.items()}
        with naming(_name(function)):
            values = function(leaves)
        _check_losses(function, values, len(next(iter(leaves.values()))))
        grads = torch.autograd.grad(values.sum(), list(leaves.values()), materialize_grads=True)
    return values.detach(), dict(zip(leaves, grads, strict=True))


def _name(function: Any) -> str:
    name: str = getattr(getattr(function, "func", function), "__qualname__", "loss")
    return name


def _check_losses(function: Any, values: Any, num: int) -> None:
    if isinstance(values, Tensor) and values.shape == (num,) and values.requires_grad:
        return
    name = _name(function)
    if not isinstance(values, Tensor) or values.shape != (num,):
        got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"{name}: expected a loss for each problem, shape (L,) = ({num},), got {got}")
    raise ValueError(f"{name}: expected a gradient with respect to the parameters, got a loss without (detached?)")
