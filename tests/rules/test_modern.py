"""Muon, schedule-free AdamW, Prodigy, and cosines: against plain forms of their formulas, and their authors' code."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from probact.judging.trajectory import losses_after, record
from probact.judging.tuning import sweep
from probact.problems.base import Optimizee, value_and_grad
from probact.rules.base import RULES, UpdateRule
from probact.rules.matrices import NEWTON_SCHULZ, is_matrix, orthogonalised, sides
from probact.rules.muon import hidden_matrices
from probact.rules.plan import Plan
from probact.runs.experiment import Experiment
from probact.support.trees import Params, map_params
from probact.unrolling.walk import Unrolling, Walk
from tests.helpers.checks import problems

STEPS = 25
COSINES = ("momentum-cosine", "adamw-cosine", "muon-cosine")
PLANNING = (*COSINES, "prodigy", "schedule-free")


def path(rule: UpdateRule, optimizee: Optimizee, steps: int = STEPS, total: int | None = None) -> list[Params]:
    """theta_0..theta_steps."""
    walk = Walk(rule, optimizee, unrolling=Unrolling(total_steps=total))
    found = [walk.params]
    with torch.no_grad():
        for _ in range(steps):
            walk.move()
            found.append(walk.params)
    return found


def gradient(alone: Optimizee, params: Params, step: int) -> Params:
    return value_and_grad(lambda theta: alone.loss(theta, step), params)[1]


def trained(
    alone: Optimizee, make: Callable[[list[nn.Parameter]], Sequence[torch.optim.Optimizer]], steps: int = STEPS
) -> dict[str, Tensor]:
    """One problem's parameters after ``steps`` of optimizers of torch's form."""
    leaves = {name: nn.Parameter(theta[0].clone()) for name, theta in alone.theta0.items()}
    optimizers = make(list(leaves.values()))
    for step in range(steps):
        grads = gradient(alone, {name: leaf.detach().unsqueeze(0) for name, leaf in leaves.items()}, step)
        for name, leaf in leaves.items():
            leaf.grad = grads[name][0].clone()
        for optimizer in optimizers:
            optimizer.step()
    return {name: leaf.detach() for name, leaf in leaves.items()}


def assert_ends_there(theta: Params, problem: int, expected: dict[str, Tensor], **near: float) -> None:
    for name, tensor in expected.items():
        torch.testing.assert_close(theta[name][problem], tensor, **{"rtol": 1e-6, "atol": 1e-8, **near})


def each_alone(optimizee: Optimizee) -> list[Optimizee]:
    return [optimizee.select(torch.tensor([problem])) for problem in range(optimizee.num)]


class OnCosine:
    """An optimizer of torch's with its rate on a cosine, as ``CosineAnnealingLR`` has it."""

    def __init__(self, optimizer: torch.optim.Optimizer, total: int = STEPS) -> None:
        self.optimizer, self.total, self.made = optimizer, total, 0
        self.lr = optimizer.param_groups[0]["lr"]

    def step(self) -> None:
        rate = self.lr * (1 + math.cos(math.pi * self.made / self.total)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.made += 1
        self.optimizer.step()


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("momentum-cosine", torch.optim.SGD, {"momentum": 0.9}),
        ("adamw-cosine", torch.optim.AdamW, {"weight_decay": 0.01}),
    ],
)
@pytest.mark.parametrize("family", ["quadratic", "digits"])
def test_a_cosine_is_torchs(name: str, kind: Any, options: dict[str, float], family: str, double: None) -> None:
    optimizee = problems(family, 2)
    ends = path(RULES[name](lr=0.02), optimizee, total=STEPS)[-1]
    for problem, alone in enumerate(each_alone(optimizee)):
        expected = trained(alone, lambda leaves: [OnCosine(kind(leaves, lr=0.02, **options))])  # type: ignore[list-item]
        assert_ends_there(ends, problem, expected)


@pytest.mark.parametrize("name", COSINES)
def test_told_nothing_it_is_the_rule_itself(name: str) -> None:
    optimizee = problems("digits", 2)
    torch.testing.assert_close(
        path(RULES[name](), optimizee)[-1], path(RULES[name.removesuffix("-cosine")](), optimizee)[-1], rtol=0, atol=0
    )


@pytest.mark.parametrize("name", PLANNING)
def test_a_plan_matters_to_each_problem_by_itself(name: str) -> None:
    """Two problems told 5 and 9 steps go as each does alone; after the end the cosine stays where it was last."""
    rule, params = RULES[name](), {"a": torch.randn(2, 3, 4), "b": torch.randn(2, 3, 4)}
    totals = torch.tensor([5.0, 9.0])

    def walked(rows: list[int]) -> Params:
        theta = map_params(lambda tensor: tensor[rows], params)
        state = rule.init(theta)
        for made in range(12):
            state = rule.told(state, Plan.of(totals[rows], made))
            step = rule.step(map_params(torch.cos, theta), state, theta, torch.zeros(len(rows)))
            theta, state = map_params(torch.add, theta, step.update), step.state
        return theta

    both = walked([0, 1])
    for row in (0, 1):
        torch.testing.assert_close(map_params(lambda tensor, row=row: tensor[[row]], both), walked([row]))
    assert all(bool(tensor.isfinite().all()) for tensor in both.values())


def test_orthogonalised_by_its_singular_values(double: None) -> None:
    """The directions stay; singular values from a hundredth of the largest on end near 1; 0 stays 0."""
    for shape in ((3, 5), (5, 3), (4, 4)):
        left, _, right = torch.linalg.svd(torch.randn(2, *shape), full_matrices=False)
        x = left @ torch.diag(torch.logspace(-1, 1, min(shape))) @ right
        inner = left.mT @ orthogonalised(x, NEWTON_SCHULZ) @ right.mT
        values = inner.diagonal(dim1=-2, dim2=-1)
        assert bool(((values > 0.65) & (values < 1.25)).all()), values
        torch.testing.assert_close(inner, torch.diag_embed(values), rtol=0, atol=1e-9)
    assert not orthogonalised(torch.zeros(2, 3, 3), NEWTON_SCHULZ).any()


def test_what_is_a_hidden_matrix() -> None:
    params = {
        "filter": torch.zeros(2, 4, 3, 3, 3),
        "bias": torch.zeros(2, 4),
        "row": torch.zeros(2, 1, 9),
        "hidden": torch.zeros(2, 5, 4),
        "output": torch.zeros(2, 3, 5),
        "last bias": torch.zeros(2, 3),
    }
    assert list(hidden_matrices(params)) == ["filter", "hidden"]
    assert sides(torch.Size([4, 3, 3, 3])) == (4, 27)
    assert not is_matrix(torch.Size([]))


def test_muon_by_hand(double: None) -> None:
    """Three steps of one matrix beside the output layer's, whose step is AdamW's."""
    rule = RULES["muon"](lr=0.1, momentum=0.9, weight_decay=0.5)
    theta = {"hidden": torch.randn(1, 3, 4), "output": torch.randn(1, 2, 3), "bias": torch.randn(1, 3)}
    adamw = RULES["adamw"](lr=0.1, weight_decay=0.5)
    state, beside = rule.init(theta), adamw.init(theta)
    momentum = torch.zeros(3, 4)
    for _ in range(3):
        grads = map_params(torch.randn_like, theta)
        step, plain = (
            one.step(grads, memory, theta, torch.zeros(1)) for one, memory in ((rule, state), (adamw, beside))
        )
        grad = grads["hidden"][0]
        momentum = 0.9 * momentum + 0.1 * grad
        x = 0.1 * grad + 0.9 * momentum
        x = x / x.norm()
        for _ in range(5):
            x = 3.4445 * x - 4.7750 * x @ x.T @ x + 2.0315 * x @ x.T @ x @ x.T @ x
        expected = -0.1 * (0.2 * math.sqrt(4) * x + 0.5 * theta["hidden"][0])
        torch.testing.assert_close(step.update["hidden"][0], expected)
        for name in ("output", "bias"):
            torch.testing.assert_close(step.update[name], plain.update[name], rtol=0, atol=0)
        theta, state, beside = map_params(torch.add, theta, step.update), step.state, plain.state


def test_muon_is_torchs(double: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's iterates in half precision, which is put off here."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    optimizee = problems("digits", 2)
    hidden = hidden_matrices(optimizee.theta0)
    assert list(hidden) == ["0.weight"]

    def make(leaves: list[nn.Parameter]) -> list[torch.optim.Optimizer]:
        named = dict(zip(optimizee.theta0, leaves, strict=True))
        rest = [leaf for name, leaf in named.items() if name not in hidden]
        own = [named[name] for name in hidden]
        return [
            torch.optim.Muon(own, 0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, 0.02, weight_decay=0.1),
        ]

    ends = path(RULES["muon"](lr=0.02, weight_decay=0.1), optimizee)[-1]
    for problem, alone in enumerate(each_alone(optimizee)):
        assert_ends_there(ends, problem, trained(alone, make))


def plain_schedule_free(alone: Optimizee, lr: float, decay: float, warmup: int) -> tuple[Tensor, Tensor]:
    """Algorithm 1 of Defazio et al. 2024, x kept in full: the last y and x, of a problem with one vector."""
    x = alone.theta0["theta"].clone()
    z, v, summed = x.clone(), torch.zeros_like(x), 0.0
    for t in range(1, STEPS + 1):
        y = 0.1 * z + 0.9 * x
        grad = gradient(alone, {"theta": y}, t - 1)["theta"]
        v = 0.999 * v + 0.001 * grad**2
        rate = lr * min(1.0, t / warmup) if warmup else lr
        z = z - rate * grad / ((v / (1 - 0.999**t)).sqrt() + 1e-8) - rate * decay * y
        summed += rate**2
        c = rate**2 / summed
        x = (1 - c) * x + c * z
    return 0.1 * z + 0.9 * x, x


@pytest.mark.parametrize(("decay", "warmup"), [(0.0, 0), (0.1, 10)])
@pytest.mark.parametrize("family", ["quadratic", "student-t"])
def test_schedule_free_by_the_paper(family: str, decay: float, warmup: int, double: None) -> None:
    """Its parameters are y; the last of the steps that it is told ends at x."""
    optimizee = problems(family, 2)
    rule = RULES["schedule-free"](lr=0.05, weight_decay=decay, warmup=warmup)
    told, untold = path(rule, optimizee, total=STEPS), path(rule, optimizee)
    for problem, alone in enumerate(each_alone(optimizee)):
        y, x = plain_schedule_free(alone, 0.05, decay, warmup)
        assert_ends_there(untold[-1], problem, {"theta": y[0]})
        assert_ends_there(told[-1], problem, {"theta": x[0]})
    torch.testing.assert_close(told[:-1], untold[:-1], rtol=0, atol=0)


def test_schedule_free_goes_on_from_the_average(double: None) -> None:
    """Beyond the end it takes a gradient at x, and ends at the next x."""
    rule, theta = RULES["schedule-free"](lr=0.05), {"theta": torch.randn(1, 4)}
    state = rule.init(theta)
    x, z, v = theta["theta"].clone(), theta["theta"].clone(), torch.zeros(1, 4)
    for made in range(6):
        grad = torch.randn(1, 4)
        step = rule.step({"theta": grad}, rule.told(state, Plan.of(torch.tensor([3.0]), made)), theta, torch.zeros(1))
        theta, state = map_params(torch.add, theta, step.update), step.state
        v = 0.999 * v + 0.001 * grad**2
        z = z - 0.05 * grad / ((v / (1 - 0.999 ** (made + 1))).sqrt() + 1e-8)
        x = x + (z - x) / (made + 1)
        torch.testing.assert_close(theta["theta"], x if made >= 2 else 0.1 * z + 0.9 * x)


@pytest.mark.parametrize("family", ["quadratic", "digits"])
def test_schedule_free_is_its_authors(family: str, double: None) -> None:
    kind = pytest.importorskip("schedulefree").AdamWScheduleFree
    optimizee = problems(family, 2)
    rule = RULES["schedule-free"](lr=0.02, weight_decay=0.1, warmup=7)
    told, untold = path(rule, optimizee, total=STEPS)[-1], path(rule, optimizee)[-1]
    for problem, alone in enumerate(each_alone(optimizee)):
        made: list[Any] = []

        def make(leaves: list[nn.Parameter], made: list[Any] = made) -> list[Any]:
            made.append(kind(leaves, lr=0.02, weight_decay=0.1, warmup_steps=7))
            made[0].train()
            return made

        theirs = trained(alone, make)
        assert_ends_there(untold, problem, theirs)
        made[0].eval()
        ends = [leaf.detach() for group in made[0].param_groups for leaf in group["params"]]
        assert_ends_there(told, problem, dict(zip(theirs, ends, strict=True)))


def plain_prodigy(alone: Optimizee, lr: float, decay: float, growth: float, total: int) -> Tensor:
    """The Adam version of Mishchenko and Defazio 2023 with Adam's correction of the bias; theta is one vector."""
    theta = alone.theta0["theta"].clone()
    start, beta3, r, d = theta.clone(), math.sqrt(0.999), 0.0, 1e-6
    first, second, summed = (torch.zeros_like(theta) for _ in range(3))
    for t in range(1, STEPS + 1):
        grad = gradient(alone, {"theta": theta}, t - 1)["theta"]
        rate = lr * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) * (1 + math.cos(math.pi * (t - 1) / total)) / 2
        first = 0.9 * first + 0.1 * d * grad
        second = 0.999 * second + 0.001 * (d * grad) ** 2
        r = beta3 * r + (1 - beta3) * rate * d**2 * float((grad * (start - theta)).sum())
        summed = beta3 * summed + (1 - beta3) * rate * d**2 * grad
        new = max(d, growth * r / float(summed.abs().sum()))
        theta = theta - rate * d * (first / (second.sqrt() + new * 1e-8) + decay * theta)
        d = new
    return theta


@pytest.mark.parametrize(("lr", "decay", "growth"), [(1.0, 0.0, 1.0), (0.5, 0.1, 3.0)])
@pytest.mark.parametrize("family", ["quadratic", "student-t"])
def test_prodigy_by_the_paper(family: str, lr: float, decay: float, growth: float, double: None) -> None:
    optimizee = problems(family, 2)
    rule = RULES["prodigy"](lr=lr, weight_decay=decay, growth=growth)
    told, untold = path(rule, optimizee, total=STEPS)[-1], path(rule, optimizee)[-1]
    for problem, alone in enumerate(each_alone(optimizee)):
        assert_ends_there(told, problem, {"theta": plain_prodigy(alone, lr, decay, growth, STEPS)[0]})
        assert_ends_there(untold, problem, {"theta": plain_prodigy(alone, lr, decay, growth, 10**9)[0]})


@pytest.mark.parametrize("family", ["quadratic", "digits"])
def test_prodigy_is_its_authors(family: str, double: None) -> None:
    kind = pytest.importorskip("prodigyopt").Prodigy
    optimizee = problems(family, 2)
    rule = RULES["prodigy"](lr=0.7, weight_decay=0.1, growth=2.0)
    told, untold = path(rule, optimizee, total=STEPS)[-1], path(rule, optimizee)[-1]

    def make(leaves: list[nn.Parameter]) -> list[Any]:
        return [kind(leaves, lr=0.7, weight_decay=0.1, d_coef=2.0, use_bias_correction=True)]

    for problem, alone in enumerate(each_alone(optimizee)):
        assert_ends_there(untold, problem, trained(alone, make))
        expected = trained(alone, lambda leaves: [OnCosine(make(leaves)[0])])  # type: ignore[list-item]
        assert_ends_there(told, problem, expected)


def test_a_step_that_others_make_is_taken_in(double: None) -> None:
    """A cosine passes it on; the others read the parameters, and keep nothing of their last step."""
    params = {"a": torch.randn(1, 3, 4), "b": torch.randn(1, 3, 4)}
    for name in PLANNING:
        rule = RULES[name]()
        step = rule.step(map_params(torch.cos, params), rule.init(params), params, torch.zeros(1))
        torch.testing.assert_close(rule.after_foreign_step(step.state, step.update), step.state, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("muon", {"momentum": 1.0}, "momentum >= 0 and < 1"),
        ("schedule-free", {"beta1": 0.0}, "beta1 > 0 and < 1"),
        ("schedule-free", {"warmup": -1}, "warmup >= 0"),
        ("prodigy", {"growth": 0.0}, "growth > 0"),
        ("prodigy", {"d0": 0.0}, "d0 > 0"),
        ("adamw-cosine", {"weight_decay": -1.0}, "weight_decay >= 0"),
    ],
)
def test_options_are_checked(name: str, options: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RULES[name](**options)


@pytest.mark.parametrize("name", ["adamw-cosine", "schedule-free"])
def test_tuning_and_judging_tell_it_each_of_the_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    optimizee, rule = problems("quadratic", 6), RULES[name](lr=0.3)
    told = losses_after(rule, optimizee, [2, 5], told=True)
    for row, total in zip(told, (2, 5), strict=True):
        nll = optimizee.nll(path(rule, optimizee, total, total)[-1])
        torch.testing.assert_close(row, nll)
        torch.testing.assert_close(record(rule, optimizee, total, told=True).nll[-1], nll.double())
    assert not torch.equal(told[0], losses_after(rule, optimizee, [2])[0])
    monkeypatch.setattr(RULES[name], "learning_rates", (0.03, 0.3))
    rates = sweep(name, Experiment.create(family="quadratic", validation_problems=8), [2])
    assert set(rates) == {2}
