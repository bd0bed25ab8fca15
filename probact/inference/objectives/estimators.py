"""How the ELBO sums over the two latent sites of ``ACT``: a loss for ``pyro.infer.SVI`` each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pyro
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from pyro.poutine.messenger import Messenger
from torch import Tensor

from probact.inference import exact
from probact.inference.observation import Observation
from probact.inference.priors import Prior
from probact.inference.steps import Halting, PriorHalting, PriorHorizon
from probact.support.registry import Registry

PLATE = "optimizees"

Program = Callable[..., Any]
"""Model or guide."""


class Estimator(TraceEnum_ELBO):  # type: ignore[misc]
    """The ELBO of ``act.model`` and ``act.guide`` as a mean over the problems; by default T and t are enumerated.

    Used as any ELBO of Pyro is: ``SVI(act.model, act.guide, optim, Collapse())``.  Pyro's own give the sum over the
    problems.  Subclasses register a name in ``ESTIMATORS`` and say in ``programs`` what they do about T and t.
    """

    name: ClassVar[str]
    draws_horizon: ClassVar[bool] = False
    """Whether ``draw_horizon`` exists: then the guide of T is the prior, and unrolls end at the largest T."""

    def __init__(self, *, max_plate_nesting: int = 1, **settings: Any) -> None:
        super().__init__(max_plate_nesting=max_plate_nesting, **settings)

    def draw_horizon(self, prior: Prior, num: int, generator: torch.Generator | None) -> Tensor:
        """T ~ p(T) of each problem, ``(L,)`` int64, before the unroll."""
        raise NotImplementedError

    def programs(self, model: Program, guide: Program) -> tuple[Program, Program]:
        """Model and guide as Pyro is to see them."""
        return model, guide

    def _get_traces(self, model: Program, guide: Program, args: Any, kwargs: Any) -> Iterator[Any]:
        model, guide = self.programs(model, guide)
        yield from super()._get_traces(_Mean()(model), _Mean()(guide), args, kwargs)


class _Mean(Messenger):  # type: ignore[misc]
    """Every site of the problems counts by 1/L."""

    def _pyro_sample(self, message: Any) -> None:
        for frame in message["cond_indep_stack"]:
            if frame.name == PLATE:
                message["scale"] = message["scale"] * (1 / frame.size)


ESTIMATORS: Registry[Estimator] = Registry("estimator", Estimator, "probact.estimators")


@ESTIMATORS.register("enumerate")
class Enumerate(Estimator):
    """T and t enumerated in the guide: exact, O(H^2) memory a problem; the reference for small H."""


@ESTIMATORS.register("collapse")
class Collapse(Estimator):
    """One site enumerated, the other summed in closed form: exact, O(H) a problem (the default).

    Of p(T) q(t|x,T) the sum is over t, of q(t|x) p(T|t) over T.  A guide of one's own is enumerated as it stands.
    """

    def programs(self, model: Program, guide: Program) -> tuple[Program, Program]:
        hidden: dict[str, Any] = {}
        return _InModel(hidden)(model), _InGuide(hidden)(guide)


class _InGuide(Messenger):  # type: ignore[misc]
    """Takes the site that can be summed in closed form out of the guide."""

    def __init__(self, hidden: dict[str, Any]) -> None:
        super().__init__()
        self.hidden = hidden

    def __enter__(self) -> Any:
        self.hidden.clear()
        return super().__enter__()

    def _pyro_sample(self, message: Any) -> None:
        if isinstance(message["fn"], Halting | PriorHorizon) and not message["is_observed"]:
            self.hidden[message["name"]] = (message["fn"], message["scale"])
            _hide(message)


class _InModel(Messenger):  # type: ignore[misc]
    """Takes it out of the model too, and lets the site that depends on it count what it counted."""

    def __init__(self, hidden: dict[str, Any]) -> None:
        super().__init__()
        self.hidden = hidden

    def _pyro_sample(self, message: Any) -> None:
        if message["name"] in self.hidden:
            self.hidden[message["name"]] += (message["fn"],)
            _hide(message)
        elif "T" in self.hidden and isinstance(message["fn"], PriorHalting):
            # p(T) p(t|T) / p(T|t) = p(t), whatever T.
            message["fn"] = message["fn"].source.marginal().expand(message["fn"].batch_shape[-1:])
        elif "t" in self.hidden and isinstance(message["fn"], Observation):
            message["fn"] = self._bound(message["fn"])

    def _bound(self, x: Observation) -> Any:
        """ELBO_T in place of log p(x|theta_t)."""
        q, kl_scale, p = self.hidden["t"]
        bound = exact.elbo_given_horizon(q.source, p.source.truncate(p.num_steps), x.rollout.log_likelihood, kl_scale)
        problem = torch.arange(bound.shape[1], device=bound.device)
        return pyro.distributions.Unit(bound[q.other - 1, problem])


def _hide(message: Any) -> None:
    """A site without a trace, whose value nobody asks for."""
    message["value"] = message["fn"].enumerate_support(expand=False)[-1]
    message["done"] = message["stop"] = True


@ESTIMATORS.register("sample")
class Sample(Estimator):
    """T ~ p(T) drawn for each problem, t enumerated: unbiased, unrolls only to the largest T (the thesis)."""

    draws_horizon = True

    def draw_horizon(self, prior: Prior, num: int, generator: torch.Generator | None) -> Tensor:
        return prior.horizon_distribution().draw((num,), generator)

    def programs(self, model: Program, guide: Program) -> tuple[Program, Program]:
        drawn: Any = {"enumerate": None}
        return model, poutine.infer_config(guide, lambda site: drawn if site["name"] == "T" else {})
