"""How the ELBO sums over its two latent sites: what model and guide of ``ACT`` say to Pyro."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import pyro
import torch
from pyro import poutine
from torch import Tensor

from probact.inference.priors import Prior, Steps
from probact.support.registry import Registry
from probact.unrolling.rollout import Rollout

if TYPE_CHECKING:
    from probact.inference.objectives.act import ACT


SUMMED: Any = {"enumerate": "parallel"}
"""``infer`` of a site whose values ``TraceEnum_ELBO`` tries all."""


@contextmanager
def problems(rollout: Rollout) -> Iterator[Tensor]:
    """The plate, with the whole program scaled by 1/L; gives 0..L-1."""
    num = rollout.nll.shape[1]
    with pyro.plate("optimizees", num, dim=-1), poutine.scale(scale=1 / num):
        yield torch.arange(num, device=rollout.nll.device)


class Estimator(ABC):
    """How T and t are summed over, drawn or integrated out; shapes as in ``act``.

    Subclasses register a name in ``ESTIMATORS``.
    """

    name: ClassVar[str]
    draws_horizon: ClassVar[bool] = False
    """Whether ``draw_horizon`` exists: then the guide of T is the prior, and unrolls end at the largest T."""

    def draw_horizon(self, prior: Prior, num: int, generator: torch.Generator | None) -> Tensor:
        """T ~ p(T) of each problem, ``(L,)`` int64, before the unroll."""
        raise NotImplementedError

    @abstractmethod
    def model(self, act: ACT, rollout: Rollout, anneal: float = 1.0) -> None:
        """p(T) p(t|T) p(x|t), with ``anneal`` on the weight of the KL."""

    @abstractmethod
    def guide(self, act: ACT, rollout: Rollout, anneal: float = 1.0) -> None:
        """p(T) or q(T|x), and q(t|x,T)."""


ESTIMATORS: Registry[Estimator] = Registry("estimator", Estimator, "probact.estimators")


@ESTIMATORS.register("enumerate")
class Enumerate(Estimator):
    """T and t enumerated in the guide: exact, O(H^2) memory a problem; the reference for small H."""

    def model(self, act: ACT, rollout: Rollout, anneal: float = 1.0) -> None:
        with problems(rollout) as problem:
            with poutine.scale(scale=act.kl_scale * anneal):
                T = pyro.sample("T", act.prior.horizon_distribution())
                t = pyro.sample("t", act.prior.halting_distribution(T, len(rollout.features)))
            pyro.factor("x", rollout.log_likelihood[t - 1, problem])

    def guide(self, act: ACT, rollout: Rollout, anneal: float = 1.0) -> None:
        with problems(rollout) as problem, poutine.scale(scale=act.kl_scale * anneal):
            q = act.q(rollout)
            if act.halting_first:
                t = pyro.sample("t", Steps(q.log_last_row().T, validate_args=False), infer=SUMMED)
                pyro.sample("T", act.prior.horizon_given_halting(t), infer=SUMMED)
                return
            T = pyro.sample("T", act.horizon_guide(rollout, anneal), infer={} if self.draws_horizon else SUMMED)
            pyro.sample("t", Steps(q.log_prob()[T - 1, problem], validate_args=False), infer=SUMMED)


@ESTIMATORS.register("collapse")
class Collapse(Estimator):
    """T enumerated, t summed in closed form: exact, O(H) a problem (the default)."""

    def model(self, act: ACT, rollout: Rollout, anneal: float = 1.0) -> None:
        with problems(rollout) as problem:
            first = "t" if act.halting_first else "T"
            prior = act.prior.marginal() if act.halting_first else act.prior.horizon_distribution()
            with poutine.scale(scale=act.kl_scale * anneal):
                step = pyro.sample(first, prior)
            of_step = rollout.log_likelihood if act.halting_first else act.bound(rollout, anneal)
            pyro.factor("x", of_step[step - 1, problem])

    def guide(self, act: ACT, rollout: Rollout, anneal: float = 1.0) -> None:
        with problems(rollout), poutine.scale(scale=act.kl_scale * anneal):
            if act.halting_first:
                last_row = act.q(rollout).log_last_row()
                pyro.sample("t", Steps(last_row.T, validate_args=False), infer=SUMMED)
            else:
                pyro.sample("T", act.horizon_guide(rollout, anneal), infer=SUMMED)


@ESTIMATORS.register("sample")
class Sample(Enumerate):
    """T ~ p(T) drawn for each problem, t enumerated: unbiased, unrolls only to the largest T (the thesis)."""

    draws_horizon = True

    def draw_horizon(self, prior: Prior, num: int, generator: torch.Generator | None) -> Tensor:
        return prior.horizon_distribution().draw((num,), generator)
