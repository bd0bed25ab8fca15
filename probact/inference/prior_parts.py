"""The two parts of a prior: p(T), and alpha(t), of which p(t|T) is made on t <= T.

A part is a class with the one method ``log_mass``: the log of its mass at the steps 1..H, up to a constant.  ``Prior``
does the rest: it caps both at H, normalises them, and sums p(t).  What else a part may have are closed forms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from probact.support.refusals import check_range
from probact.support.registry import Registry


def log1mexp(value: Tensor) -> Tensor:
    """log(1 - e^-value) for value > 0, accurate at both ends."""
    return torch.log(-torch.expm1(-value))


def mean_horizon(nu: Tensor) -> Tensor:
    """E[T] = 1 / (1 - r) + 1 / (1 - nu) - 1 of the geometric prior without a cap, in steps."""
    a = -0.5 * torch.log(nu)
    return -1 / torch.expm1(-a) - 1 / torch.expm1(-2 * a) - 1


class HaltingPrior(ABC):
    """alpha(t) of p(t|T) = alpha(t) / sum_{s <= T} alpha(s) on t <= T.

    Subclasses register a name in ``HALTING_PRIORS``; keyword parameters with defaults become
    ``--halting-prior-option KEY=VALUE``.
    """

    name: ClassVar[str]

    @abstractmethod
    def log_mass(self, nu: Tensor, t: Tensor) -> Tensor:
        """log alpha(t) up to a constant, finite, ``(*batch, H)``, for ``nu (*batch, 1)`` and ``t`` = 1..H."""

    def log_normaliser(self, nu: Tensor, T: Tensor) -> Tensor:
        """log sum_{s <= T} alpha(s) for T = 1..H, ``(*batch, H)``."""
        return torch.logcumsumexp(self.log_mass(nu, T), -1)


class HorizonPrior(ABC):
    """p(T) before it is capped at H.

    Subclasses register a name in ``HORIZON_PRIORS``; keyword parameters with defaults become
    ``--horizon-prior-option KEY=VALUE``.
    """

    name: ClassVar[str]

    @abstractmethod
    def log_mass(self, nu: Tensor, T: Tensor, halting: HaltingPrior) -> Tensor:
        """log p(T) up to a constant, finite, ``(*batch, H)``, for ``nu (*batch, 1)`` and ``T`` = 1..H.

        :param halting: the prior's other part, for a p(T) that goes with it.
        """

    def log_pmf(self, nu: Tensor, T: Tensor, halting: HaltingPrior) -> Tensor:
        """log p_H(T): capped at H and normalised."""
        return torch.log_softmax(self.log_mass(nu, T, halting), -1)

    def log_marginal(self, nu: Tensor, t: Tensor, halting: HaltingPrior) -> Tensor | None:
        """log p_H(t) in closed form, where there is one."""
        return None


HALTING_PRIORS: Registry[HaltingPrior] = Registry("halting prior", HaltingPrior, "probact.halting_priors")
"""Every prior of the halting step, p(t|T), by its name."""
HORIZON_PRIORS: Registry[HorizonPrior] = Registry("horizon prior", HorizonPrior, "probact.horizon_priors")
"""Every prior of the horizon, p(T), by its name."""


@HALTING_PRIORS.register("geometric")
class GeometricHalting(HaltingPrior):
    """alpha(t) = (1 - r) r^(t-1) with r = sqrt(nu) (the default)."""

    def log_mass(self, nu: Tensor, t: Tensor) -> Tensor:
        a = -0.5 * torch.log(nu)
        return log1mexp(a) - a * (t - 1)

    def log_normaliser(self, nu: Tensor, T: Tensor) -> Tensor:
        return log1mexp(-0.5 * torch.log(nu) * T)


@HALTING_PRIORS.register("uniform")
class UniformHalting(HaltingPrior):
    """alpha(t) = 1: every step up to T alike."""

    def log_mass(self, nu: Tensor, t: Tensor) -> Tensor:
        return torch.zeros_like(nu * t)


@HALTING_PRIORS.register("power")
class PowerHalting(HaltingPrior):
    """alpha(t) = t^-exponent: a long tail, each step cheaper than the one before."""

    def __init__(self, exponent: float = 1.0) -> None:
        check_range("halting prior 'power'", above=0, below=100, exponent=exponent)
        self.exponent = exponent

    def log_mass(self, nu: Tensor, t: Tensor) -> Tensor:
        return -self.exponent * torch.log(t) + torch.zeros_like(nu)


@HORIZON_PRIORS.register("geometric")
class GeometricHorizon(HorizonPrior):
    """p(T) = r^(T-1) (1 - r^T) (1 - nu), with which a geometric p(t|T) gives p(t) = (1 - nu) nu^(t-1) (the default).

    Sander 2017, eq 16.  (The thesis prints mu~ = 1 - sqrt(mu); it must be 1 - sqrt(nu).)  Capped at H::

        p_H(T) = p(T) / Z,    Z = (1 - r^H) (1 - r^(H+1))
        p_H(t) = (1 - nu) r^(t-1) (r^(t-1) - r^H) / Z

    All from a = -log r > 0 with expm1, so that nu -> 1 and nu -> 0 both work.
    """

    def log_mass(self, nu: Tensor, T: Tensor, halting: HaltingPrior) -> Tensor:
        a = -0.5 * torch.log(nu)
        return -a * (T - 1) + log1mexp(a * T) + log1mexp(2 * a)

    @staticmethod
    def _log_normaliser(a: Tensor, steps: Tensor) -> Tensor:
        horizon = len(steps)
        return log1mexp(a * horizon) + log1mexp(a * (horizon + 1))

    def log_pmf(self, nu: Tensor, T: Tensor, halting: HaltingPrior) -> Tensor:
        return self.log_mass(nu, T, halting) - self._log_normaliser(-0.5 * torch.log(nu), T)

    def log_marginal(self, nu: Tensor, t: Tensor, halting: HaltingPrior) -> Tensor | None:
        if type(halting) is not GeometricHalting:
            return None
        a = -0.5 * torch.log(nu)
        left = log1mexp(a * (len(t) - t + 1))
        return log1mexp(2 * a) - 2 * a * (t - 1) + left - self._log_normaliser(a, t)


@HORIZON_PRIORS.register("flat")
class FlatPrice(HorizonPrior):
    """The p(T) that makes p_H(t) ~ nu^t on 1..H: every step costs -log nu, up to the last.

    p(T) ~ A(T) (gamma(T) - gamma(T+1)) for T < H and A(H) gamma(H) at H, with gamma(t) = nu^t / alpha(t) and
    A(T) = sum_{t <= T} alpha(t).
    With a geometric p(t|T) it is that of the geometric prior but for T = H, where all beyond H is put.
    """

    def log_mass(self, nu: Tensor, T: Tensor, halting: HaltingPrior) -> Tensor:
        log_gamma = T * torch.log(nu) - halting.log_mass(nu, T)
        fall = -torch.diff(log_gamma, dim=-1)
        if not bool((fall > -1e-4).all()):  # no less than rounding makes of 0
            raise ValueError(
                "horizon prior 'flat': expected a halting prior that falls more slowly than nu^t, "
                f"got {getattr(halting, 'name', type(halting).__name__)!r} at nu = {float(nu.flatten()[0]):.4g}"
            )
        steps_down = torch.cat([log1mexp(fall.clamp_min(1e-30)), torch.zeros_like(log_gamma[..., :1])], -1)
        return halting.log_normaliser(nu, T) + log_gamma + steps_down

    def log_marginal(self, nu: Tensor, t: Tensor, halting: HaltingPrior) -> Tensor:
        return torch.log_softmax(t * torch.log(nu), -1)


@HORIZON_PRIORS.register("uniform")
class UniformHorizon(HorizonPrior):
    """Every T up to H alike."""

    def log_mass(self, nu: Tensor, T: Tensor, halting: HaltingPrior) -> Tensor:
        return torch.zeros_like(nu * T)


class _ByMean(HorizonPrior):
    """A p(T) of T - 1 with a mean; ``mean`` 0: that of the geometric prior with the same nu."""

    def __init__(self, mean: float = 0.0) -> None:
        if mean:
            check_range(f"horizon prior {self.name!r}", above=1, mean=mean)
        self.mean = mean

    def _mean_of_rest(self, nu: Tensor) -> Tensor:
        """E[T - 1]; not 0, of which there is no log."""
        return (torch.full_like(nu, self.mean) if self.mean else mean_horizon(nu)).sub(1).clamp_min(1e-9)


@HORIZON_PRIORS.register("poisson")
class PoissonHorizon(_ByMean):
    """T - 1 ~ Poisson: horizons of about one length, ``mean`` (0: that of the geometric prior)."""

    def log_mass(self, nu: Tensor, T: Tensor, halting: HaltingPrior) -> Tensor:
        return (T - 1) * torch.log(self._mean_of_rest(nu)) - torch.lgamma(T)


@HORIZON_PRIORS.register("negative-binomial")
class NegativeBinomialHorizon(_ByMean):
    """T - 1 ~ negative binomial: ``mean`` (0: that of the geometric prior); the more even, the smaller ``shape``."""

    def __init__(self, mean: float = 0.0, shape: float = 2.0) -> None:
        super().__init__(mean)
        check_range(f"horizon prior {self.name!r}", above=0, shape=shape)
        self.shape = shape

    def log_mass(self, nu: Tensor, T: Tensor, halting: HaltingPrior) -> Tensor:
        mean = self._mean_of_rest(nu)
        return torch.lgamma(T - 1 + self.shape) - torch.lgamma(T) + (T - 1) * torch.log(mean / (mean + self.shape))


@HORIZON_PRIORS.register("empirical")
class EmpiricalHorizon(HorizonPrior):
    """T as often as among ``steps`` up to H, with ``smoothing`` observations more spread over 1..H."""

    def __init__(self, steps: tuple[int, ...] = (10, 20, 50, 100), smoothing: float = 1.0) -> None:
        for extreme in (min, max):
            check_range("horizon prior 'empirical'", at_least=1, steps=extreme(steps, default=0))
        check_range("horizon prior 'empirical'", above=0, smoothing=smoothing)
        self.steps = steps
        self.smoothing = smoothing

    def log_mass(self, nu: Tensor, T: Tensor, halting: HaltingPrior) -> Tensor:
        seen = torch.as_tensor(self.steps, device=T.device)
        counts = (seen.unsqueeze(-1) == T).sum(0).to(nu.dtype)
        return torch.log(counts + self.smoothing / len(T)) + torch.zeros_like(nu)
