"""Each check of ``probact.testing`` sees what it is for: a part with one fault, and the line that names it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from probact import (
    ESTIMATORS,
    FAMILIES,
    HALTING_PRIORS,
    HORIZON_PRIORS,
    OBJECTIVES,
    POSTERIORS,
    RULES,
    STOP_RULES,
    HaltingPrior,
    Known,
    Objective,
    Optimizee,
    OptimizeeFamily,
    Params,
    Rollout,
    State,
    Step,
    StopRule,
    UpdateRule,
)
from probact.inference.objectives.estimators import Enumerate, Sample
from probact.inference.objectives.losses import SumOfLosses
from probact.inference.posteriors.sequential import StickBreaking
from probact.inference.prior_parts import GeometricHorizon, UniformHalting, UniformHorizon
from probact.inference.priors import Prior
from probact.problems.linear import Quadratic
from probact.rules.hand_designed import Momentum
from probact.stopping.rules import Patience
from probact.support.registry import Registry
from probact.testing import (
    check_estimator,
    check_family,
    check_halting_prior,
    check_horizon_prior,
    check_objective,
    check_posterior,
    check_rule,
    check_stop_rule,
)

CASES: list[tuple[Registry, Callable[[Any], None], type, str]] = []


def fault(registry: Registry, check: Callable[[Any], None], line: str) -> Callable[[type], type]:
    """A class whose check ends with ``line``."""

    def add(kind: type) -> type:
        CASES.append((registry, check, kind, line))
        return kind

    return add


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    with ExitStack() as stack:
        for registry in (
            FAMILIES,
            RULES,
            POSTERIORS,
            OBJECTIVES,
            ESTIMATORS,
            HORIZON_PRIORS,
            HALTING_PRIORS,
            STOP_RULES,
        ):
            stack.enter_context(registry.temporarily())
        yield


class Wrapped(OptimizeeFamily):
    """Quadratic problems of another class."""

    problems: ClassVar[Any]

    def sample(self, num: int, generator: torch.Generator) -> Optimizee:
        return self.problems(**vars(Quadratic().sample(num, generator)))


PROBLEMS = type(Quadratic().sample(2, torch.Generator()))


class Mixing(PROBLEMS):  # type: ignore[misc, valid-type]
    def nll(self, params: Params) -> Tensor:
        own: Tensor = super().nll(params)
        return own + 0.1 * own.mean()


class Undercut(PROBLEMS):  # type: ignore[misc, valid-type]
    def optimum(self) -> Tensor:
        return self.smallest + 1e6


class Unlike(PROBLEMS):  # type: ignore[misc, valid-type]
    def nll(self, params: Params) -> Tensor:
        return torch.rand(len(params["theta"])) + super().nll(params).detach() * 0 + params["theta"].sum(1)


@fault(FAMILIES, check_family, "recommends settings of Experiment that it takes: expected [], got ['horizons']")
class Advising(Quadratic):
    """Fault."""

    recommended: ClassVar[dict[str, int]] = {"horizons": 3}


@fault(FAMILIES, check_family, "recommends settings of Experiment that it takes: ValueError: ")
class Misadvising(Quadratic):
    """Fault."""

    recommended: ClassVar[dict[str, int]] = {"horizon": -3}


@fault(FAMILIES, check_family, "the same generator gives the same problems: expected ")
class Unrepeatable(Quadratic):
    """Fault."""

    def sample(self, num: int, generator: torch.Generator) -> Optimizee:
        return super().sample(num, torch.Generator().manual_seed(int(torch.randint(10**6, ()))))


@fault(FAMILIES, check_family, "another generator gives other problems: expected False, got True")
class Constant(Quadratic):
    """Fault."""

    def sample(self, num: int, generator: torch.Generator) -> Optimizee:
        return super().sample(num, torch.Generator().manual_seed(0))


@fault(FAMILIES, check_family, "nll of problem l reads row l only: expected ")
class Leaking(Wrapped):
    """Fault."""

    problems = Mixing


@fault(FAMILIES, check_family, "no nll is below the optimum: expected ")
class Boasting(Wrapped):
    """Fault."""

    problems = Undercut


@fault(FAMILIES, check_family, "loss of a step is always the same: expected ")
class Noisy(Wrapped):
    """Fault."""

    problems = Unlike


@fault(FAMILIES, check_family, "the third difference of a quadratic nll is 0: expected ")
class NotQuadratic(FAMILIES["student-t"]):  # type: ignore[misc]
    """Fault."""

    quadratic = True


@fault(RULES, check_rule, "problem l reads row l only: expected ")
class Averaging(Momentum):
    """Fault."""

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        step = super().step(grads, state, params, loss)
        return step._replace(update={name: tensor.mean(0).expand_as(tensor) for name, tensor in step.update.items()})


@fault(RULES, check_rule, "every tensor of the state has a row a problem: ")
class Summing(UpdateRule):
    """Fault."""

    def init(self, params: Params) -> State:
        return torch.zeros(3)

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        assert isinstance(state, Tensor)
        return Step(
            {name: -0.01 * grad * (1 + state.sum()) for name, grad in grads.items()},
            state + torch.ones(3),
            loss.new_zeros(len(loss), 0),
        )


@fault(RULES, check_rule, "step: expected features of shape (L, num_features) = ")
class Talkative(Momentum):
    """Fault."""

    num_features = 2


@fault(RULES, check_rule, "a weight learns: expected True, got False")
class Deaf(Momentum):
    """Fault."""

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__(lr=lr)
        self.unused = torch.nn.Parameter(torch.ones(1))


@fault(POSTERIORS, check_posterior, "each row has mass 1: expected 1, got ")
class Leaky(StickBreaking):
    """Fault."""

    def log_prob(self) -> Tensor:
        return super().log_prob() - 0.1


@fault(POSTERIORS, check_posterior, "row T reads the logits of steps 1..T only: expected ")
class Clairvoyant(StickBreaking):
    """Fault."""

    def log_mass(self) -> tuple[Tensor, Tensor]:
        return type(self).__base__(self.logits - self.logits.mean(0)).log_mass()  # type: ignore[misc]


@fault(POSTERIORS, check_posterior, "expect agrees with log_prob: expected ")
class Inconsistent(StickBreaking):
    """Fault."""

    def expect(self, values: Tensor) -> Tensor:
        return 1.01 * super().expect(values)


@fault(POSTERIORS, check_posterior, "at initial_bias(0.3) it halts near the prior or later: expected ")
class Hasty(StickBreaking):
    """Fault."""

    @staticmethod
    def initial_bias(nu: float) -> float:
        return 5.0


@fault(POSTERIORS, check_posterior, "hazards followed step by step spend the mass of the last row: expected ")
class Adrift(StickBreaking):
    """Fault."""

    @staticmethod
    def hazard(logit: Tensor, halted: Tensor) -> Tensor:
        return torch.sigmoid(logit) * (1 - halted)


@fault(OBJECTIVES, check_objective, "with halting 'softmax': loss of problem l reads row l only: expected ")
class Relative(SumOfLosses):
    """Fault."""

    def losses(self, rollout: Rollout, anneal: float = 1.0) -> Tensor:
        losses = super().losses(rollout, anneal)
        return losses - 0.5 * losses.mean()


@fault(OBJECTIVES, check_objective, "with halting 'softmax': as it adds up, the loss of an unroll is ")
class Squared(SumOfLosses):
    """Fault."""

    def losses(self, rollout: Rollout, anneal: float = 1.0) -> Tensor:
        return super().losses(rollout, anneal).square()


@fault(OBJECTIVES, check_objective, "takes the setting log_loss_weight and passes it on: expected True, got False")
class Closed(Objective):
    """Fault."""

    def __init__(self, rule: UpdateRule, posterior: Any, horizon: Prior, unrolling: Any) -> None:
        super().__init__(rule, posterior, horizon, unrolling)

    def losses(self, rollout: Rollout, anneal: float = 1.0) -> Tensor:
        return rollout.nll[-1]


@fault(ESTIMATORS, check_estimator, "loss is the closed form's (horizon first, anneal 0.3): expected ")
class Unheated(Enumerate):
    """Fault."""

    def differentiable_loss(self, model: Any, guide: Any, rollout: Rollout, anneal: float = 1.0) -> Tensor:
        loss: Tensor = super().differentiable_loss(model, guide, rollout)
        return loss


@fault(ESTIMATORS, check_estimator, "is unbiased, to 4 standard errors (horizon first, anneal 1.0): expected ")
class Early(Sample):
    """Fault."""

    def draw_horizon(self, prior: Prior, num: int, generator: torch.Generator | None) -> Tensor:
        return (super().draw_horizon(prior, num, generator) - 1).clamp_min(1)


@fault(HORIZON_PRIORS, check_horizon_prior, "H = 2: p(t) is the sum of p(T) p(t|T): expected ")
class Untied(UniformHorizon):
    """Fault."""

    def log_marginal(self, nu: Tensor, t: Tensor, halting: HaltingPrior) -> Tensor:
        return torch.full_like(nu * t, 1 / len(t)).log()


@fault(HORIZON_PRIORS, check_horizon_prior, "log_pmf: expected a sum of 1 over 1..H")
class Untruncated(GeometricHorizon):
    """Fault."""

    def log_pmf(self, nu: Tensor, T: Tensor, halting: HaltingPrior) -> Tensor:
        return self.log_mass(nu, T, halting)


@fault(HALTING_PRIORS, check_halting_prior, "log_normaliser: expected the log of the sum of e^log_mass to T")
class Unnormalised(UniformHalting):
    """Fault."""

    def log_normaliser(self, nu: Tensor, T: Tensor) -> Tensor:
        return torch.log(T.clamp_max(5)) + torch.zeros_like(nu)


@fault(HALTING_PRIORS, check_halting_prior, "p(t|T) is the same whatever the cap, for T up to it: expected ")
class Capped(UniformHalting):
    """Fault."""

    def log_mass(self, nu: Tensor, t: Tensor) -> Tensor:
        return torch.log(len(t) + t) + torch.zeros_like(nu)


@fault(STOP_RULES, check_stop_rule, "score of problem l reads row l only: expected ")
class Herd(Patience):
    """Fault."""

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        score, memory = super().score(known, memory)
        return score - score.mean(), memory


@fault(STOP_RULES, check_stop_rule, "score of step s reads steps 1..s only: expected ")
class Remembering(StopRule):
    """Fault."""

    seen = 0

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        self.seen += 1
        return known.loss + self.seen, memory


@fault(STOP_RULES, check_stop_rule, "score raised AttributeError: ")
class Dependent(StopRule):
    """Fault."""

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        return known.halted.clone(), memory  # type: ignore[union-attr]


@fault(STOP_RULES, check_stop_rule, "from_json reads what to_json gave: ")
class Forgetful(StopRule):
    """Fault."""

    def __init__(self, threshold: float | None = None, patience: int = 3) -> None:
        super().__init__(threshold)
        self.waits = patience

    def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
        return known.loss, memory


@pytest.mark.parametrize(("registry", "check", "kind", "line"), CASES, ids=[kind.__name__ for _, _, kind, _ in CASES])
def test_a_fault_is_named(registry: Registry, check: Callable[[Any], None], kind: type, line: str) -> None:
    registry.register("faulty")(kind)
    with pytest.raises(AssertionError) as found:
        check(kind)
    message = str(found.value)
    assert message.startswith(f"{registry.kind} 'faulty'")
    assert line in message
    assert len(message.splitlines()) == 1


def test_a_class_that_is_not_registered_is_told() -> None:
    with pytest.raises(AssertionError, match=r"^rule Unnamed: is registered: expected "):
        check_rule(type("Unnamed", (Summing,), {"__doc__": "New."}))


def test_an_instance_in_place_of_its_class_is_told() -> None:
    with pytest.raises(TypeError, match="expected the class of a family, got Quadratic"):
        check_family(FAMILIES["quadratic"]())  # type: ignore[arg-type]
