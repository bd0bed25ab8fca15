"""Distributions over steps 1..H, which Pyro enumerates: of halting step and horizon, alone or given one another."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.kl import register_kl


class Steps(TorchDistribution):
    """Categorical over the steps 1..H, from the table ``log_pmf``, ``logits`` or ``probs``, whichever is given.

    ``p(k) = exp(log_pmf[..., k - 1])``; entries may be -inf.  ``log_pmf`` must be normalised; the others need not be.
    Shapes: ``log_pmf (*batch, H)``, values ``(*sample, *batch)`` int64.

    >>> fair = Steps(probs=torch.tensor([1.0, 1.0, 0.0]))
    >>> fair.log_prob(torch.tensor(2)).exp().item(), fair.enumerate_support().tolist()
    (0.5, [1, 2, 3])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_enumerate_support = True

    def __init__(
        self,
        log_pmf: Tensor | None = None,
        validate_args: bool | None = None,
        *,
        logits: Tensor | None = None,
        probs: Tensor | None = None,
    ) -> None:
        given = [table for table in (log_pmf, logits, probs) if table is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of log_pmf, logits and probs, got {len(given)}")
        if log_pmf is None:
            log_pmf = torch.log_softmax(given[0] if probs is None else probs.log(), -1)
        self.log_pmf = log_pmf
        super().__init__(log_pmf.shape[:-1], validate_args=validate_args)

    @property
    def logits(self) -> Tensor:
        """``log_pmf``, by Pyro's name."""
        return self.log_pmf

    @property
    def probs(self) -> Tensor:
        return self.log_pmf.exp()

    @property
    def num_steps(self) -> int:
        return self.log_pmf.shape[-1]

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(1, self.num_steps)

    def _moment(self, power: int) -> Tensor:
        steps = torch.arange(1, self.num_steps + 1, dtype=self.log_pmf.dtype, device=self.log_pmf.device)
        return (self.log_pmf.exp() * steps**power).sum(-1)

    @property
    def mean(self) -> Tensor:
        return self._moment(1)

    @property
    def variance(self) -> Tensor:
        return self._moment(2) - self.mean.square()

    @property
    def mode(self) -> Tensor:
        return 1 + self.log_pmf.argmax(-1)

    def entropy(self) -> Tensor:
        return torch.special.entr(self.log_pmf.exp()).sum(-1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Steps:
        return Steps(self.log_pmf.expand(*batch_shape, self.num_steps), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        shape = torch.broadcast_shapes(value.shape, self.batch_shape)
        index = (value.long() - 1).expand(shape).unsqueeze(-1)
        return self.log_pmf.expand(*shape, self.num_steps).gather(-1, index).squeeze(-1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.draw(sample_shape)

    def draw(self, sample_shape: Any = (), generator: torch.Generator | None = None) -> Tensor:
        """``sample``, with a generator."""
        shape = (*sample_shape, *self.batch_shape, 1)
        cdf = self.log_pmf.detach().double().exp().cumsum(-1)
        uniform = torch.rand(shape, dtype=torch.float64, generator=generator).to(cdf.device)
        # Scaling by the last entry keeps rounding of the total from ever drawing H + 1.
        return 1 + (uniform * cdf[..., -1:] >= cdf).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = torch.arange(1, self.num_steps + 1, device=self._device)
        values = values.reshape(-1, *(1 for _ in self.batch_shape))
        return values.expand(-1, *self.batch_shape) if expand else values

    @property
    def _device(self) -> torch.device:
        return self.log_pmf.device


@register_kl(Steps, Steps)
def _divergence(p: Steps, q: Steps) -> Tensor:
    impossible = p.log_pmf == -math.inf  # 0 log 0 = 0, also beside a q of 0
    difference = torch.where(impossible, 0.0, p.log_pmf - q.log_pmf)
    return (p.log_pmf.exp() * difference).sum(-1)


class Drawn(Steps):
    """``Steps`` whose sample was drawn before: the site's density without a second draw.

    The ``sample`` estimator draws T first, unrolls to the largest T, and hands T to the guide here.
    """

    def __init__(self, log_pmf: Tensor, value: Tensor) -> None:
        super().__init__(log_pmf, validate_args=False)
        self.value = value

    def expand(self, batch_shape: Any, _instance: Any = None) -> Drawn:
        return Drawn(self.log_pmf.expand(*batch_shape, self.num_steps), self.value.expand(batch_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.value.expand(*sample_shape, *self.value.shape)


class Given(Steps):
    """Steps given ``other``, a step of another site: rows of a table that is worked out when it is asked for.

    The collapsed ELBO does not ask: it sums over the table that ``source`` stands for in closed form.

    :param source: what the rows are of; None for a table ``logits`` as of any ``Steps``.
    :param batch: the problems that the source tells apart, as a shape: ``()`` or ``(L,)``.
    """

    def __init__(
        self,
        source: Any = None,
        other: Tensor | None = None,
        num_steps: int = 0,
        batch: Any = (),
        *,
        logits: Tensor | None = None,
    ) -> None:
        self.source, self._num_steps, self._batch = source, num_steps, batch
        self._rows: Tensor | None = None
        if other is None:
            super().__init__(logits=logits, validate_args=False)
            self._num_steps = self.log_pmf.shape[-1]
            return
        self.other = other.expand(torch.broadcast_shapes(other.shape, batch))
        TorchDistribution.__init__(self, self.other.shape, validate_args=False)

    def rows(self) -> Tensor:
        """The log pmf for every entry of ``other``, ``(*other.shape, num_steps)``."""
        raise NotImplementedError

    @property
    def log_pmf(self) -> Tensor:  # type: ignore[override]
        if self._rows is None:
            self._rows = self.rows()
        return self._rows

    @log_pmf.setter
    def log_pmf(self, table: Tensor) -> None:
        self._rows = table

    @property
    def num_steps(self) -> int:
        return self._num_steps

    @property
    def _device(self) -> torch.device:
        return self.log_pmf.device if self.source is None else self.other.device

    def expand(self, batch_shape: Any, _instance: Any = None) -> Steps:
        if self.source is None:
            return super().expand(batch_shape)
        return type(self)(self.source, self.other.expand(batch_shape), self._num_steps, self._batch)


class GuideHalting(Given):
    """q(t|x,T) of a ``HaltingDistribution`` for each entry of T, whose last dimension is the problems'."""

    def rows(self) -> Tensor:
        problem = torch.arange(self.other.shape[-1], device=self.other.device)
        return self.source.log_prob()[self.other - 1, problem]  # type: ignore[no-any-return]


class PriorHalting(Given):
    """p(t|T) of a ``Prior`` for each entry of T."""

    def rows(self) -> Tensor:
        return self.source.halting_rows(self.other, self._num_steps)  # type: ignore[no-any-return]


class PriorHorizon(Given):
    """p(T|t) of a ``Prior`` for each entry of t."""

    def rows(self) -> Tensor:
        return self.source.horizon_rows(self.other)  # type: ignore[no-any-return]
