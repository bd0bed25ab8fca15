"""The mistakes of a user's own part are named once, where it comes in: part, method, expected and got."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from probact import FAMILIES, OBJECTIVES, POSTERIORS, RULES, STOP_RULES, Known, Optimizee, OptimizeeFamily, Params
from probact.problems.linear import Quadratic
from probact.rules.base import Step, UpdateRule
from probact.rules.hand_designed import Momentum
from probact.stopping.base import StopRule
from probact.support.trees import map_params
from probact.training.meta_training import MetaTraining
from probact.unrolling.border import check_parts, try_family, try_rule
from probact.unrolling.rollout import unroll
from tests.helpers.checks import problems
from tests.helpers.trainings import tiny


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    with ExitStack() as stack:
        for registry in (FAMILIES, RULES, STOP_RULES):
            stack.enter_context(registry.temporarily())
        yield


@dataclass(frozen=True)
class Bowl(Optimizee):
    centre: Tensor

    def nll(self, params: Params) -> Tensor:
        return (params["x"] - self.centre).square().sum(1)


def bowls(num: int, generator: torch.Generator) -> Bowl:
    return Bowl({"x": torch.zeros(num, 3)}, torch.randn(num, 3, generator=generator))


def family_of(sample: Callable[[int, torch.Generator], Any] = bowls, **methods: Any) -> type[OptimizeeFamily]:
    """A family of bowls that are sampled otherwise, or whose methods are others."""
    kind = dataclass(frozen=True)(type("Own", (Bowl,), methods))

    def drawn(self: Any, num: int, generator: torch.Generator) -> Any:
        found = sample(num, generator)
        return kind(found.theta0, found.centre) if methods else found

    return FAMILIES.register("own")(type("Own", (OptimizeeFamily,), {"sample": drawn}))


def loss(function: Callable[[Tensor], Any]) -> dict[str, Any]:
    """An ``nll`` that is ``function`` of x - centre."""
    return {"nll": lambda self, params: function(params["x"] - self.centre)}


FAMILY_SLIPS: dict[str, tuple[dict[str, Any], str]] = {
    "NaN at the start": (loss(lambda x: x.square().sum(1) * torch.nan), "nll: expected a finite loss at theta_0"),
    "a scalar": (
        loss(lambda x: x.square().sum()),
        r"nll: Own.nll: expected a loss for each .* = \(7,\), got shape \(\)",
    ),
    "a column": (loss(lambda x: x.square().sum(1, keepdim=True)), r"nll: .*, got shape \(7, 1\)"),
    "an array": (loss(lambda x: x.detach().numpy().sum(1)), "nll: .*, got ndarray"),
    "nothing": (loss(lambda x: None), "nll: .*, got NoneType"),
    "no gradient": (loss(lambda x: x.detach().square().sum(1)), "nll: .*expected a gradient"),
    "another's loss": (loss(lambda x: (x + x.mean(0)).square().sum(1)), "nll: .*depend on the others of its batch"),
    "a mean over problems": (loss(lambda x: x.square().sum(1) / len(x)), "nll: .*depend on the others of its batch"),
    "noise": (loss(lambda x: x.square().sum(1) + torch.rand(())), "sample: expected the same problems from generators"),
    "a name that is not there": (
        {"nll": lambda self, params: params["y"].sum(1)},
        "nll: Own.nll raised KeyError: 'y'",
    ),
    "an optimum that is a number": ({"optimum": lambda self: 0.0}, r"optimum: expected shape \(L,\) = \(7,\) or None"),
    "its own random numbers": (
        {"sample": lambda num, _: Bowl({"x": torch.zeros(num, 3)}, torch.randn(num, 3))},
        "sample: expected the same problems",
    ),
    "int parameters": (
        {"sample": lambda num, _: Bowl({"x": torch.zeros(num, 3).long()}, torch.zeros(num, 3))},
        r"sample: theta0 of Bowl: expected 'x' to be a floating-point .*, got shape \(7, 3\) of torch.int64",
    ),
    "parameters of one problem": (
        {"sample": lambda num, _: Bowl({"x": torch.zeros(3)}, torch.zeros(num, 3))},
        r"sample: theta0 .* shape \(L, ...\), got shape \(3,\)",
    ),
    "no parameters": ({"sample": lambda num, _: Bowl({}, torch.zeros(num, 3))}, "sample: theta0 .*, got dict {}"),
    "parameters without a number": (
        {"sample": lambda num, _: Bowl({"x": torch.zeros(num, 0)}, torch.zeros(num, 0))},
        r"sample: expected parameters of one number at least, got theta0\['x'\] of shape \(7, 0\)",
    ),
    "one parameter without a number": (
        {"sample": lambda num, _: Bowl({"x": torch.zeros(num, 3), "y": torch.zeros(num, 2, 0)}, torch.zeros(num, 3))},
        r"sample: expected parameters of one number at least, got theta0\['y'\]",
    ),
    "a loss without observations": (loss(lambda x: x[:, :0].square().sum(1)), "nll: expected a loss that depends on"),
    "a constant": (loss(lambda x: 3 + 0 * x.sum(1)), "nll: expected a loss that depends on the parameters"),
    "a loss of something else": (
        {"nll": lambda self, params: (params["x"] - params["x"]).sum(1) + self.centre.sum(1)},
        "nll: expected a loss that depends on the parameters, got a gradient of 0 for all 7 problems",
    ),
    "rows of another number": (
        {"sample": lambda num, _: Bowl({"x": torch.zeros(num, 3)}, torch.zeros(num + 1, 3))},
        "sample: expected centre to have a row for each of 7 problems",
    ),
    "no optimizee": ({"sample": lambda num, _: (1, 2)}, r"sample: expected an Optimizee, got tuple \(1, 2\)"),
    "an error": ({"sample": lambda num, _: 1 / 0}, "sample raised ZeroDivisionError: division by zero"),
}


@pytest.mark.parametrize("slip", FAMILY_SLIPS)
def test_a_slip_in_a_family(slip: str) -> None:
    given, line = FAMILY_SLIPS[slip]
    family_of(**given)
    with pytest.raises(ValueError, match=f"^family 'own': {line}"):
        next(iter(MetaTraining(tiny(family="own"))))


def test_a_family_without_a_slip_is_left_in_peace() -> None:
    problems = try_family(family_of()())
    try_rule(Momentum(), problems)
    assert problems.num == 7


def test_a_start_where_the_gradient_is_0_is_left_in_peace() -> None:
    try_family(family_of(nll=lambda self, params: params["x"].square().sum(1))())


def test_a_family_without_sample_and_one_that_cannot_be_built() -> None:
    FAMILIES.register("unfinished")(type("Unfinished", (OptimizeeFamily,), {}))
    with pytest.raises(ValueError, match=r"^family 'unfinished' raised TypeError: .*abstract method '?sample"):
        MetaTraining(tiny(family="unfinished"))

    def wants(self: Any, size: int = 3) -> None:
        raise RuntimeError("no data")

    FAMILIES.register("dear")(type("Dear", (Quadratic,), {"__init__": wants}))
    with pytest.raises(ValueError, match=r"^family 'dear', size=5 raised RuntimeError: no data$"):
        MetaTraining(tiny(family="dear", family_options={"size": "5"}))


class Own(UpdateRule):
    num_features = 2

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(0.1))

    def init(self, params: Params) -> Any:
        return ()

    def step(self, grads: Params, state: Any, params: Params, loss: Tensor) -> Any:
        return Step(map_params(lambda grad: -self.rate * grad, grads), state, loss.new_zeros(len(loss), 2))


def stepping(update: Callable[[Tensor], Tensor], num_features: int = 2) -> dict[str, Any]:
    def step(self: Own, grads: Params, state: Any, params: Params, loss: Tensor) -> Step:
        return Step(map_params(update, grads), state, loss.new_zeros(len(loss), num_features))

    return {"step": step}


RULE_SLIPS: dict[str, tuple[dict[str, Any], str]] = {
    "no step": ({"step": lambda *given: None}, "step: expected Step.*, got NoneType"),
    "a tuple": ({"step": lambda self, grads, *given: (grads, (), 0)}, "step: expected Step.*, got tuple"),
    "no update": ({"step": lambda self, grads, state, params, loss: Step({}, (), loss)}, "step: .*update of 'theta'"),
    "an update of another shape": (stepping(lambda grad: grad.sum(1)), r"step: .* got shape \(7,\)"),
    "an update of another type": (stepping(Tensor.double), "step: .* of torch.float32, got .* of torch.float64"),
    "NaN": (stepping(lambda grad: grad * torch.nan), "step: expected a finite update"),
    "other features": (stepping(lambda grad: -grad, 3), r"step: expected features .* \(7, 2\), got shape \(7, 3\)"),
    "a mean over problems": (
        stepping(lambda grad: -grad.mean(0, keepdim=True).expand_as(grad)),
        "step: expected the update of a problem not to depend on the others",
    ),
    "features of no number": ({"num_features": None}, "num_features: expected a whole number, got NoneType"),
    "a state of one": ({"init": lambda self, params: torch.tensor(0.0)}, r"init: .* L = 7 as first .*, got shape \(\)"),
    "a state of another kind": ({"init": lambda self, params: [0]}, "init: expected nested tuples .*, got list"),
    "an error": ({"init": lambda self, params: params["y"]}, "init raised KeyError: 'y'"),
}


@pytest.mark.parametrize("slip", RULE_SLIPS)
def test_a_slip_in_a_rule(slip: str) -> None:
    given, line = RULE_SLIPS[slip]
    RULES.register("own")(type("Own", (Own,), given))
    with pytest.raises(ValueError, match=f"^rule 'own': {line}"):
        next(iter(MetaTraining(tiny(rule="own"))))


def test_a_slip_of_a_rule_on_its_way() -> None:
    """A first step is as it should be, the second leaves a parameter out."""

    def step(self: Own, grads: Params, state: Tensor, params: Params, loss: Tensor) -> Step:
        return Step(grads if bool((state == 0).all()) else {}, state + 1, loss.new_zeros(len(loss), 2))

    late = type("Late", (Own,), {"init": lambda self, params: torch.zeros(3), "step": step})
    with pytest.raises(ValueError, match=r"^rule 'Late': step: expected an update of 'theta'"):
        unroll(late(), problems("quadratic", 3), 2)


def test_parameters_of_another_type_than_the_weights() -> None:
    family = family_of(lambda num, _: Bowl({"x": torch.zeros(num, 3).double()}, torch.ones(num, 3).double()))
    with pytest.raises(ValueError, match=r"^rule 'Own': expected parameters of torch.float32.*'x' of torch.float64"):
        check_parts(family(), Own())


STOP_SLIPS: dict[str, tuple[Callable[..., Any], str]] = {
    "no memory": (lambda self, known, memory: known.loss, r"score: expected \(score, memory\).*, got Tensor"),
    "one score": (lambda self, known, memory: (known.loss.sum(), ()), r"score: .* = \(4,\), got \(\)"),
    "nothing": (lambda self, known, memory: None, r"score: expected \(score, memory\).*, got NoneType"),
    "an error": (lambda self, known, memory: known.loss_, "score raised AttributeError"),
}


@pytest.mark.parametrize("slip", STOP_SLIPS)
def test_a_slip_in_a_stop_rule(slip: str) -> None:
    score, line = STOP_SLIPS[slip]
    kind = STOP_RULES.register("own")(type("Own", (StopRule,), {"score": score}))
    known = Known(1, torch.zeros(4), torch.zeros(4), None, None)
    with pytest.raises(ValueError, match=f"^stop rule 'own': {line}"):
        kind().checked_score(known, ())


@pytest.mark.parametrize("registry", [FAMILIES, RULES, STOP_RULES, OBJECTIVES, POSTERIORS])
def test_a_class_of_another_kind_and_a_name_that_is_no_word(registry: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{registry.kind} 'mine': expected a subclass of \w+, got .*Bowl"):
        registry.register("mine")(Bowl)
    for name in ("", "my part", "a=1", "a,b", "../a", None):
        with pytest.raises(ValueError, match=rf"^{registry.kind}: expected a name like 'my-\w+', got "):
            registry.register(name)
