"""The prior over horizon T and halting step t, of two parts (``prior_parts``) that are capped at H here.

By default one number nu in (0, 1), the probability to continue, gives (Sander 2017, eq 16, with r = sqrt(nu))::

    p(T)   = r^(T-1) (1 - r^T) (1 - nu)                T = 1, 2, ...
    p(t|T) = (1 - r) r^(t-1) / (1 - r^T)               t = 1..T
    p(t)   = sum_{T >= t} p(t|T) p(T) = (1 - nu) nu^(t-1)      geometric, E[t] = 1 / (1 - nu)
"""

from __future__ import annotations

import copy
import math
from typing import Self

import torch
from torch import Tensor

from probact.inference.price import price_of
from probact.inference.prior_parts import HALTING_PRIORS, HORIZON_PRIORS, HaltingPrior, HorizonPrior, mean_horizon
from probact.inference.steps import PriorHalting, PriorHorizon, Steps
from probact.support.refusals import said


class Prior:
    """p_H(T) and p(t|T) of two parts, both capped at H, and p_H(t), which follows.

    A subclass may say instead what ``log_horizon`` or ``log_unnormalised_halting`` is, for the H of ``self.horizon``.

    :param nu: probability to continue; a float, or a tensor ``(*batch)`` in (0, 1) that may require gradient.
    :param horizon: the cap H >= 1 on T and t.
    :param device: where the tables live; by default where ``nu`` is.
    :param horizon_prior, halting_prior: the parts, by name or as objects.
    :raises ValueError: if ``nu`` is outside (0, 1), ``horizon`` < 1, or a part is none.

    >>> prior = Prior(0.95, horizon=100)
    >>> round(Prior.mean_halting_step(0.95), 6), round(Prior.mean_horizon(0.95), 1)
    (20.0, 58.5)
    >>> prior.marginal().mean.item() < 20        # the cap takes the tail
    True
    >>> (Prior(0.5, horizon=4, horizon_prior="flat").price() / math.log(2)).round(decimals=4).tolist()
    [1.0, 1.0, 1.0]
    """

    def __init__(
        self,
        nu: float | Tensor,
        horizon: int,
        device: str | torch.device | None = None,
        horizon_prior: str | HorizonPrior = "geometric",
        halting_prior: str | HaltingPrior = "geometric",
    ) -> None:
        self.horizon_prior = HORIZON_PRIORS.build(horizon_prior) if isinstance(horizon_prior, str) else horizon_prior
        self.halting_prior = HALTING_PRIORS.build(halting_prior) if isinstance(halting_prior, str) else halting_prior
        for part, base in ((self.horizon_prior, HorizonPrior), (self.halting_prior, HaltingPrior)):
            if not isinstance(part, base):
                raise ValueError(f"prior: expected a {base.__name__} or its name, got {said(part)}")
        self._set(nu, horizon, device)
        self._check_parts()

    def _set(self, nu: float | Tensor, horizon: int, device: str | torch.device | None = None) -> None:
        if not isinstance(horizon, int) or horizon < 1:
            raise ValueError(f"expected a horizon H >= 1, a whole number, got {horizon!r}")
        # A float's tables are computed in double: float32 would round 1 - 1e-6 by 3 %.
        exact = torch.as_tensor(nu, dtype=None if isinstance(nu, Tensor) else torch.float64, device=device)
        if not bool(((exact > 0) & (exact < 1)).all()):
            raise ValueError(f"expected nu, the probability to continue, inside (0, 1), got {nu}")
        self.nu = nu
        self.horizon = horizon
        self._dtype = exact.dtype if isinstance(nu, Tensor) else torch.get_default_dtype()
        self._nu = exact.unsqueeze(-1)

    def _check_parts(self) -> None:
        """:raises ValueError: unless both say H finite logs, and what is normalised of them is."""
        nu, steps = self._nu.detach(), self._steps()
        for part, mass in (
            (self.horizon_prior, self.horizon_prior.log_mass(nu, steps, self.halting_prior)),
            (self.halting_prior, self.halting_prior.log_mass(nu, steps)),
        ):
            kind = "horizon" if isinstance(part, HorizonPrior) else "halting"
            what = f"{kind} prior {_name(part)!r}: log_mass: expected"
            shape = (*nu.shape[:-1], self.horizon)
            if not isinstance(mass, Tensor) or mass.shape != shape or not mass.is_floating_point():
                raise ValueError(f"{what} logs of shape (*batch, H) = {shape}, got {said(mass)}")
            if not bool(mass.isfinite().all()):
                wrong = int((~mass.isfinite()).nonzero()[0, -1])
                raise ValueError(f"{what} finite logs, got {mass[..., wrong].flatten()[0].item()} at step {wrong + 1}")
        total = self.horizon_prior.log_pmf(nu, steps, self.halting_prior).logsumexp(-1).abs().max().item()
        if not total < 1e-3:
            raise ValueError(f"horizon prior {_name(self.horizon_prior)!r}: log_pmf: expected a sum of 1 over 1..H")
        sums = self.halting_prior.log_mass(nu, steps).logcumsumexp(-1) - self.halting_prior.log_normaliser(nu, steps)
        if not sums.abs().max().item() < 1e-3:
            name = _name(self.halting_prior)
            raise ValueError(f"halting prior {name!r}: log_normaliser: expected the log of the sum of e^log_mass to T")

    def __init_subclass__(cls) -> None:
        for follows in ("log_marginal", "log_halting"):
            if follows in vars(cls):
                raise ValueError(
                    f"prior {cls.__name__!r}: expected log_horizon or log_unnormalised_halting, got {follows}, "
                    "which follows from them"
                )

    def _has_own(self, *names: str) -> bool:
        """Whether a subclass says what one of these methods says."""
        return any(getattr(type(self), name) is not getattr(Prior, name) for name in names)

    def _check_own(self) -> None:
        """:raises ValueError: if a subclass's p(T) is not one over 1..H, or its alpha(t) is none."""
        tables = {"log_horizon": self.log_horizon(), "log_unnormalised_halting": self.log_unnormalised_halting()}
        for method, table in tables.items():
            what = f"prior {type(self).__name__!r}: {method}: expected logs of H = {self.horizon} probabilities"
            if not isinstance(table, Tensor) or table.shape[-1] != self.horizon:
                raise ValueError(f"{what}, got {said(table)}")
            worst = (table.exp().sum(-1) - 1).abs().max().item()
            if method == "log_horizon" and not worst < 1e-3:
                raise ValueError(f"{what} that add up to 1, got a sum that is {worst:.3g} off")

    def _steps(self) -> Tensor:
        return torch.arange(1, self.horizon + 1, dtype=self._nu.dtype, device=self._nu.device)

    def log_horizon(self) -> Tensor:
        """log p_H(T), shape ``(*batch, H)``."""
        return self.horizon_prior.log_pmf(self._nu, self._steps(), self.halting_prior).to(self._dtype)

    def log_unnormalised_halting(self) -> Tensor:
        """log alpha(t), the part of p(t|T) that does not depend on T; shape ``(*batch, H)``."""
        return self.halting_prior.log_mass(self._nu, self._steps()).to(self._dtype)

    def log_halting_normaliser(self) -> Tensor:
        """log sum_{t <= T} alpha(t) for T = 1..H, the rest of p(t|T); shape ``(*batch, H)``."""
        if self._has_own("log_unnormalised_halting"):
            return torch.logcumsumexp(self.log_unnormalised_halting(), -1)
        return self.halting_prior.log_normaliser(self._nu, self._steps()).to(self._dtype)

    def log_halting(self) -> Tensor:
        """log p(t|T), shape ``(*batch, T, t)``, -inf above the diagonal."""
        table = self.log_unnormalised_halting().unsqueeze(-2) - self.log_halting_normaliser().unsqueeze(-1)
        above = torch.ones(self.horizon, self.horizon, dtype=torch.bool, device=table.device).triu(1)
        return table.masked_fill(above, -math.inf)

    def log_marginal(self) -> Tensor:
        """log p_H(t) = log sum_T p_H(T) p(t|T), shape ``(*batch, H)``."""
        if self._has_own("log_horizon", "log_unnormalised_halting"):
            self._check_own()
        else:
            closed = self.horizon_prior.log_marginal(self._nu, self._steps(), self.halting_prior)
            if closed is not None:
                return closed.to(self._dtype)
        weight = self.log_horizon() - self.log_halting_normaliser()
        return self.log_unnormalised_halting() + torch.logcumsumexp(weight.flip(-1), -1).flip(-1)

    @property
    def label(self) -> str:
        """For people: ``geometric p(T), geometric p(t|T)``."""
        return f"{_name(self.horizon_prior)} p(T), {_name(self.halting_prior)} p(t|T)"

    def price(self) -> Tensor:
        """-log p_H(t+1) / p_H(t): what the step from t to t + 1 has to gain for the posterior to go on, in nats.

        For t = 1..H-1, ``(*batch, H - 1)``.  It is -log nu for the horizon prior ``flat`` alone, and tends to it for
        ``geometric`` as H grows.
        """
        return -torch.diff(self.log_marginal(), dim=-1)

    def horizon_distribution(self) -> Steps:
        """p_H(T)."""
        return Steps(self.log_horizon())

    def halting_distribution(self, T: Tensor, num_steps: int | None = None) -> PriorHalting:
        """p(t|T) for every entry of ``T`` (int64, 1..H; broadcasts with nu's batch).

        The support is 1..``num_steps`` (default H), which must not be below the largest T.
        """
        return PriorHalting(self, T, num_steps or self.horizon, self._nu.shape[:-1])

    def halting_rows(self, T: Tensor, num_steps: int) -> Tensor:
        """log p(t|T) for every entry of ``T``, whose shape includes nu's batch: ``(*T.shape, num_steps)``."""
        if self._has_own("log_unnormalised_halting"):
            log_alpha, normaliser = self.log_unnormalised_halting(), self.log_halting_normaliser()
        else:
            log_alpha = self.halting_prior.log_mass(self._nu, self._steps())
            normaliser = self.halting_prior.log_normaliser(self._nu, self._steps())
        of_T = normaliser.expand(*T.shape, self.horizon).gather(-1, T.unsqueeze(-1) - 1)
        beyond = torch.arange(1, num_steps + 1, device=T.device) > T.unsqueeze(-1)
        return (log_alpha[..., :num_steps] - of_T).masked_fill(beyond, -math.inf).to(self._dtype)

    def horizon_given_halting(self, t: Tensor) -> PriorHorizon:
        """p(T|t) for every entry of ``t`` (int64, 1..H): p(T) p(t|T) / p(t), which is 0 for T < t."""
        return PriorHorizon(self, t, self.horizon, self._nu.shape[:-1])

    def horizon_rows(self, t: Tensor) -> Tensor:
        """log p(T|t) for every entry of ``t``, ``(*t.shape, H)``."""
        table = self.log_horizon() - self.log_halting_normaliser()
        T = torch.arange(1, self.horizon + 1, device=table.device)
        return torch.log_softmax(table.masked_fill(t.unsqueeze(-1) > T, -math.inf), -1)

    def marginal(self) -> Steps:
        """p_H(t)."""
        return Steps(self.log_marginal())

    def truncate(self, num_steps: int) -> Self:
        """The same parts and nu capped at ``num_steps``: p(t|T) keeps its values for T <= ``num_steps``."""
        if num_steps == self.horizon:
            return self
        other = copy.copy(self)
        other._set(self.nu, num_steps, self._nu.device)
        if type(self) is Prior:
            other._check_parts()
        elif self._has_own("log_horizon"):
            other._check_own()
        return other

    def at(self, nu: float | Tensor) -> Self:
        """The same with another nu, a number or ``(*batch)``."""
        other = copy.copy(self)
        other._set(nu, self.horizon, self._nu.device)
        return other

    def double(self) -> Self:
        """The same on the CPU in double precision."""
        other = copy.copy(self)
        other._set(torch.as_tensor(self.nu, dtype=torch.float64, device="cpu").detach(), self.horizon)
        return other

    @property
    def step_cost(self) -> float:
        """-log nu: the price of a step under the horizon prior ``flat``, at which the MAP step is cost-optimal."""
        return price_of(float(self.nu))

    @staticmethod
    def mean_halting_step(nu: float) -> float:
        """E[t] = 1 / (1 - nu) of the geometric prior without a cap, in steps."""
        return 1 / (1 - nu)

    @staticmethod
    def mean_horizon(nu: float) -> float:
        """E[T] of the geometric prior without a cap, in steps."""
        return float(mean_horizon(torch.tensor(nu, dtype=torch.float64)))


def _name(part: HorizonPrior | HaltingPrior) -> str:
    """By which it is registered, or that of its class."""
    return getattr(part, "name", type(part).__name__)
