"""How the ELBO sums over the two latent sites of ``ACT``: a loss for ``pyro.infer.SVI`` each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from probact.inference.steps import GuideHalting, PriorHalting, PriorHorizon
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
"""Every estimator of the ELBO by its name."""


@ESTIMATORS.register("enumerate")
class Enumerate(Estimator):
    """T and t enumerated in the guide: exact, O(H^2) memory a problem; the reference for small H."""


@ESTIMATORS.register("collapse")
class Collapse(Estimator):
    """One site enumerated, the other summed in closed form: exact, O(H) a problem (the default).

    Of p(T) q(t|x,T) the sum is over t, of q(t|x) p(T|t) over T.  A guide of one's own is enumerated as it stands.

    :raises ValueError: on a model whose t or T is observed or set, with a guide that draws it.
    """

    def programs(self, model: Program, guide: Program) -> tuple[Program, Program]:
        hidden, drawn = dict[str, _Hidden](), set[str]()
        return _InModel(hidden, drawn)(model), _InGuide(hidden, drawn)(guide)


@dataclass
class _Hidden:
    """A site that is summed in closed form: its distribution and scale in the guide, and in the model."""

    q: Any
    scale: Any
    p: Any = None
    value: Any = None

    def check(self, value: Tensor) -> None:
        """:raises ValueError: unless ``value``, on which another site depends, is this site's."""
        if value.data_ptr() != self.value.data_ptr():
            raise ValueError("collapse: expected t and T of the model to be drawn, got one that is set: use enumerate")


class _InGuide(Messenger):  # type: ignore[misc]
    """Takes the site that can be summed in closed form out of the guide."""

    def __init__(self, hidden: dict[str, _Hidden], drawn: set[str]) -> None:
        super().__init__()
        self.hidden, self.drawn = hidden, drawn

    def __enter__(self) -> Any:
        self.hidden.clear()
        self.drawn.clear()
        return super().__enter__()

    def _pyro_sample(self, message: Any) -> None:
        self.drawn.add(message["name"])
        if isinstance(message["fn"], GuideHalting | PriorHorizon) and not message["is_observed"]:
            self.hidden[message["name"]] = _Hidden(message["fn"], message["scale"])
            _hide(message)


class _InModel(Messenger):  # type: ignore[misc]
    """Takes it out of the model too, and lets the site that depends on it count what it counted."""

    def __init__(self, hidden: dict[str, _Hidden], drawn: set[str]) -> None:
        super().__init__()
        self.hidden, self.drawn = hidden, drawn

    def _pyro_sample(self, message: Any) -> None:
        name, fn = message["name"], message["fn"]
        if message["is_observed"] and name in self.drawn:
            raise ValueError(f"collapse: expected a guide without the site {name!r}, which is observed in the model")
        if name in self.hidden:
            self.hidden[name].p, self.hidden[name].value = fn, _hide(message)
        elif "T" in self.hidden and isinstance(fn, PriorHalting):
            # p(T) p(t|T) / p(T|t) = p(t), whatever T.
            self.hidden["T"].check(fn.other)
            message["fn"] = fn.source.marginal().expand(fn.batch_shape[-1:])
        elif "t" in self.hidden and isinstance(fn, Observation):
            self.hidden["t"].check(fn.t)
            message["fn"] = _bound(self.hidden["t"], fn)


def _bound(t: _Hidden, x: Observation) -> Any:
    """ELBO_T in place of log p(x|theta_t)."""
    prior = t.p.source.truncate(t.p.num_steps)
    bound = exact.elbo_given_horizon(t.q.source, prior, x.rollout.log_likelihood, t.scale)
    problem = torch.arange(bound.shape[1], device=bound.device)
    return pyro.distributions.Unit(bound[t.q.other - 1, problem])


def _hide(message: Any) -> Tensor:
    """Leave a site without a trace, with a value that only tells it from others."""
    value: Tensor = message["fn"].enumerate_support(expand=False)[-1].clone()
    message["value"], message["done"], message["stop"] = value, True, True
    return value


@ESTIMATORS.register("sample")
class Sample(Estimator):
    """T ~ p(T) drawn for each problem, t enumerated: unbiased, unrolls only to the largest T (the thesis)."""

    draws_horizon = True

    def draw_horizon(self, prior: Prior, num: int, generator: torch.Generator | None) -> Tensor:
        return prior.horizon_distribution().draw((num,), generator)

    def programs(self, model: Program, guide: Program) -> tuple[Program, Program]:
        drawn: Any = {"enumerate": None}
        return model, poutine.infer_config(guide, lambda site: drawn if site["name"] == "T" else {})
