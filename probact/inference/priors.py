"""The prior over horizon T and halting step t, and the 1-based distribution both live in.

One number nu in (0, 1), the probability to continue, gives (Sander 2017, eq 16, with r = sqrt(nu))::

    p(T)   = r^(T-1) (1 - r^T) (1 - nu)                T = 1, 2, ...
    p(t|T) = (1 - r) r^(t-1) / (1 - r^T)               t = 1..T
    p(t)   = sum_{T >= t} p(t|T) p(T) = (1 - nu) nu^(t-1)      geometric, E[t] = 1 / (1 - nu)

(The thesis prints mu~ = 1 - sqrt(mu); it must be 1 - sqrt(nu).)  Truncated to T <= H::

    p_H(T) = p(T) / Z,    Z = (1 - r^H) (1 - r^(H+1))
    p_H(t) = (1 - nu) r^(t-1) (r^(t-1) - r^H) / Z

Everything is computed from a = -log r > 0 with expm1, so that nu -> 1 and nu -> 0 both work.
"""

from __future__ import annotations

import copy
import math
from typing import Any, ClassVar, Self

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from probact.support.refusals import said


def _log1mexp(value: Tensor) -> Tensor:
    """log(1 - e^-value) for value > 0, accurate at both ends."""
    return torch.log(-torch.expm1(-value))


class Steps(TorchDistribution):
    """Categorical over the steps 1..H.

    ``p(k) = exp(log_pmf[..., k - 1])``; entries may be -inf, and the table must already be normalised.
    Shapes: ``log_pmf (*batch, H)``, values ``(*sample, *batch)`` int64.

    >>> fair = Steps(torch.log(torch.tensor([0.5, 0.5, 0.0])))
    >>> fair.log_prob(torch.tensor(2)).exp().item(), fair.enumerate_support().tolist()
    (0.5, [1, 2, 3])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_enumerate_support = True

    def __init__(self, log_pmf: Tensor, validate_args: bool | None = None) -> None:
        self.log_pmf = log_pmf
        super().__init__(log_pmf.shape[:-1], validate_args=validate_args)

    @property
    def num_steps(self) -> int:
        return self.log_pmf.shape[-1]

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(1, self.num_steps)

    @property
    def mean(self) -> Tensor:
        steps = torch.arange(1, self.num_steps + 1, dtype=self.log_pmf.dtype, device=self.log_pmf.device)
        return (self.log_pmf.exp() * steps).sum(-1)

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
        uniform = torch.rand(shape, dtype=torch.float64, generator=generator).to(self.log_pmf.device)
        cdf = self.log_pmf.detach().double().exp().cumsum(-1)
        # Scaling by the last entry keeps rounding of the total from ever drawing H + 1.
        return 1 + (uniform * cdf[..., -1:] >= cdf).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = torch.arange(1, self.num_steps + 1, device=self.log_pmf.device)
        values = values.reshape(-1, *(1 for _ in self.batch_shape))
        return values.expand(-1, *self.batch_shape) if expand else values


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


class Horizon(TorchDistribution):
    """The untruncated p(T) = r^(T-1) (1 - r^T) (1 - nu) on T = 1, 2, ..., with r = sqrt(nu).

    T = U + V - 1 with U ~ geometric(1 - r) and V ~ geometric(1 - nu), both from 1.  That gives its draws.  Its mean is
    1 / (1 - r) + 1 / (1 - nu) - 1.

    :param nu: probability to continue, ``(*batch)`` in (0, 1).

    >>> T = Horizon(torch.tensor(0.95))
    >>> round(T.mean.item(), 1), round(T.log_prob(torch.arange(1, 2000)).exp().sum().item(), 4)
    (58.5, 1.0)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"nu": constraints.unit_interval}
    support = constraints.positive_integer

    def __init__(self, nu: Tensor, validate_args: bool | None = None) -> None:
        self.nu = nu
        super().__init__(nu.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        a = -0.5 * torch.log(self.nu)
        return -1 / torch.expm1(-a) - 1 / torch.expm1(-2 * a) - 1

    def expand(self, batch_shape: Any, _instance: Any = None) -> Horizon:
        return Horizon(self.nu.expand(batch_shape), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        a = -0.5 * torch.log(self.nu)
        return -a * (value - 1) + _log1mexp(a * value) + _log1mexp(2 * a)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        log_nu = torch.log(self.nu.detach().double())
        log_uniform = torch.rand(2, *sample_shape, *self.batch_shape, dtype=torch.float64).log().to(log_nu.device)
        # Inverse CDF of a geometric from 1: ceil(log uniform / log of the probability to continue).
        U, V = (log_uniform[0] / (0.5 * log_nu)).ceil(), (log_uniform[1] / log_nu).ceil()
        return (U.clamp_min(1) + V.clamp_min(1) - 1).long()


class Prior:
    """p_H(T) and p(t|T), tied by one ``nu`` so that t is geometric; see the module's formulas.

    A subclass may have a p(T) of its own, ``log_horizon``, and a p(t|T) ~ u(t) on t <= T, ``log_unnormalised_halting``;
    all else follows from them, but for ``step_cost``.  Both are made for the H of ``self.horizon``.

    :param nu: probability to continue; a float, or a tensor ``(*batch)`` in (0, 1) that may require gradient.
    :param horizon: the cap H >= 1 on T and t.
    :param device: where the tables live; by default where ``nu`` is.
    :raises ValueError: if ``nu`` is outside (0, 1) or ``horizon`` < 1.

    >>> prior = Prior(0.95, horizon=100)
    >>> round(Prior.mean_halting_step(0.95), 6), round(Prior.mean_horizon(0.95), 1)
    (20.0, 58.5)
    >>> prior.marginal().mean.item() < 20        # truncation to H takes the tail
    True
    """

    def __init__(self, nu: float | Tensor, horizon: int, device: str | torch.device | None = None) -> None:
        if not isinstance(horizon, int) or horizon < 1:
            raise ValueError(f"expected a horizon H >= 1, a whole number, got {horizon!r}")
        # A float's tables are computed in double: float32 would round 1 - 1e-6 by 3 %.
        exact = torch.as_tensor(nu, dtype=None if isinstance(nu, Tensor) else torch.float64, device=device)
        if not bool(((exact > 0) & (exact < 1)).all()):
            raise ValueError(f"expected nu, the probability to continue, inside (0, 1), got {nu}")
        self.nu = nu
        self.horizon = horizon
        self._dtype = exact.dtype if isinstance(nu, Tensor) else torch.get_default_dtype()
        self._a = -0.5 * torch.log(exact).unsqueeze(-1)

    def __init_subclass__(cls) -> None:
        if "log_marginal" in vars(cls):
            raise ValueError(
                f"prior {cls.__name__!r}: expected log_horizon or log_unnormalised_halting, got log_marginal, "
                "which follows from them"
            )

    def _has_own(self, *names: str) -> bool:
        """Whether a subclass says what one of these methods says."""
        return any(getattr(type(self), name) is not getattr(Prior, name) for name in names)

    def _check_own(self) -> None:
        """:raises ValueError: if a subclass's p(T) is not one over 1..H, or its p(t|T) is none."""
        for method in ("log_horizon", "log_halting"):
            table = getattr(self, method)()
            what = f"prior {type(self).__name__!r}: {method}: expected logs of H = {self.horizon} probabilities"
            if not isinstance(table, Tensor) or table.shape[-1] != self.horizon:
                raise ValueError(f"{what}, got {said(table)}")
            worst = (table.exp().sum(-1) - 1).abs().max().item()
            if not worst < 1e-3:
                raise ValueError(f"{what} that add up to 1, got a sum that is {worst:.3g} off")

    def _steps(self) -> Tensor:
        return torch.arange(1, self.horizon + 1, dtype=self._a.dtype, device=self._a.device)

    def _log_normaliser(self) -> Tensor:
        return _log1mexp(self._a * self.horizon) + _log1mexp(self._a * (self.horizon + 1))

    def log_horizon(self) -> Tensor:
        """log p_H(T), shape ``(*batch, H)``."""
        a, T = self._a, self._steps()
        return (-a * (T - 1) + _log1mexp(a * T) + _log1mexp(2 * a) - self._log_normaliser()).to(self._dtype)

    def log_unnormalised_halting(self) -> Tensor:
        """log of (1 - r) r^(t-1), the part of p(t|T) that does not depend on T; shape ``(*batch, H)``."""
        if self._has_own("log_halting"):
            raise ValueError(
                f"prior {type(self).__name__!r}: expected log_unnormalised_halting, of which p(t|T) is made on t <= T, "
                "got log_halting"
            )
        a, t = self._a, self._steps()
        return (_log1mexp(a) - a * (t - 1)).to(self._dtype)

    def log_halting_normaliser(self) -> Tensor:
        """log(1 - r^T) for T = 1..H, the rest of p(t|T); shape ``(*batch, H)``."""
        if self._has_own("log_unnormalised_halting", "log_halting"):
            return torch.logcumsumexp(self.log_unnormalised_halting(), -1)
        return _log1mexp(self._a * self._steps()).to(self._dtype)

    def log_halting(self) -> Tensor:
        """log p(t|T), shape ``(*batch, T, t)``, -inf above the diagonal."""
        table = self.log_unnormalised_halting().unsqueeze(-2) - self.log_halting_normaliser().unsqueeze(-1)
        above = torch.ones(self.horizon, self.horizon, dtype=torch.bool, device=table.device).triu(1)
        return table.masked_fill(above, -math.inf)

    def log_marginal(self) -> Tensor:
        """log p_H(t) = log sum_T p_H(T) p(t|T), shape ``(*batch, H)``."""
        if self._has_own("log_horizon", "log_unnormalised_halting", "log_halting"):
            self._check_own()
            return torch.logsumexp(self.log_horizon().unsqueeze(-1) + self.log_halting(), -2)
        a, t, H = self._a, self._steps(), self.horizon
        table = _log1mexp(2 * a) - 2 * a * (t - 1) + _log1mexp(a * (H - t + 1)) - self._log_normaliser()
        return table.to(self._dtype)

    def horizon_distribution(self) -> Steps:
        """p_H(T)."""
        return Steps(self.log_horizon())

    def halting_distribution(self, T: Tensor, num_steps: int | None = None) -> Steps:
        """p(t|T) for every entry of ``T`` (int64, 1..H; broadcasts with nu's batch).

        The support is 1..``num_steps`` (default H), which must not be below the largest T.
        """
        if self._has_own("log_unnormalised_halting", "log_halting"):
            return Steps(self.log_halting()[..., T - 1, : num_steps or self.horizon])
        a, t = self._a, self._steps()[: num_steps or self.horizon]
        T = T.unsqueeze(-1)
        table = _log1mexp(a) - a * (t - 1) - _log1mexp(a * T)
        return Steps(table.masked_fill(t > T, -math.inf).to(self._dtype))

    def horizon_given_halting(self, t: Tensor) -> Steps:
        """p(T|t) for every entry of ``t`` (int64, 1..H): p(T) p(t|T) / p(t), which is 0 for T < t."""
        table = self.log_horizon() - self.log_halting_normaliser()
        T = torch.arange(1, self.horizon + 1, device=table.device)
        return Steps(torch.log_softmax(table.masked_fill(t.unsqueeze(-1) > T, -math.inf), -1))

    def marginal(self) -> Steps:
        """p_H(t)."""
        return Steps(self.log_marginal())

    def truncate(self, num_steps: int) -> Self:
        """The same nu capped at ``num_steps``: p(t|T) keeps its values for T <= ``num_steps``."""
        if num_steps == self.horizon:
            return self
        other = copy.copy(self)
        Prior.__init__(other, self.nu, num_steps, self._a.device)
        if self._has_own("log_horizon"):
            other._check_own()
        return other

    def at(self, nu: Tensor) -> Self:
        """The same with another nu, ``(*batch)``."""
        other = copy.copy(self)
        Prior.__init__(other, nu, self.horizon)
        return other

    def double(self) -> Self:
        """The same on the CPU in double precision."""
        other = copy.copy(self)
        Prior.__init__(other, torch.tensor(float(self.nu), dtype=torch.float64), self.horizon)
        return other

    @property
    def step_cost(self) -> float:
        """-log nu: the price of one more step, in nats, that makes the MAP step cost-optimal."""
        return -math.log(float(self.nu))

    @staticmethod
    def mean_halting_step(nu: float) -> float:
        """E[t] = 1 / (1 - nu) of the untruncated prior, in steps."""
        return 1 / (1 - nu)

    @staticmethod
    def mean_horizon(nu: float) -> float:
        """E[T] of the untruncated prior, in steps."""
        return float(Horizon(torch.tensor(nu, dtype=torch.float64)).mean)
