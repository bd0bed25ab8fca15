"""Unrolls of rules that do not see a gradient: searches and computations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from probact.problems.base import FAMILIES, Optimizee
from probact.problems.black_box import BlackBox
from probact.rules.base import RULES, Step, UpdateRule
from probact.rules.plan import Plan
from probact.rules.safeguarded import Safeguarded
from probact.stopping.online import run_until_stopped
from probact.stopping.rules import Budget, GradientNorm, Patience
from probact.support.sight import Sight
from probact.support.trees import Params, State
from probact.unrolling.begin import begin
from probact.unrolling.border import try_rule
from probact.unrolling.looks import Looks
from probact.unrolling.rollout import unroll
from probact.unrolling.search import Search
from probact.unrolling.walk import Unrolling

K = 6


@dataclass(frozen=True)
class Bowls(BlackBox):
    """f(x) = (x - a)^2, not seen where x > ``blind``."""

    at: Tensor
    blind: float = math.inf
    noise: Tensor | None = None

    def value(self, params: Params) -> Tensor:
        x = params["x"][:, 0]
        return torch.where(x > self.blind, torch.nan, (x - self.at).square())

    def nll_of(self, value: Tensor) -> Tensor:
        return 3 * value + 1

    def observe(self, value: Tensor, step: int) -> Tensor:
        return value if self.noise is None else value + self.noise[:, step]


@dataclass(frozen=True)
class Roots(Bowls):
    """f(x) = sqrt(a - x): no number, and of infinite slope, from x = a on."""

    def value(self, params: Params) -> Tensor:
        return (self.at - params["x"][:, 0]).sqrt()


class Stepping(UpdateRule):
    """Asks at ``first``, then moves on by ``stride`` and against the last y: a search that can be written down."""

    name = "stepping"
    sees = Sight.VALUE
    num_features = 1

    def __init__(self) -> None:
        super().__init__()
        self.first, self.stride, self.share = (nn.Parameter(torch.tensor(v)) for v in (0.0, 0.2, 0.01))

    def init(self, params: Params) -> State:
        return (torch.zeros(len(params["x"]), dtype=torch.long),)

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        assert not grads["x"].any()
        (count,) = state
        x, loss = params["x"], loss.unsqueeze(-1)
        query = torch.where(count.unsqueeze(-1) == 0, self.first, x + self.stride - self.share * loss)
        return Step({"x": query - x}, (count + 1,), loss)


@dataclass(frozen=True)
class Sums(Optimizee):
    """The answer is to be the label, which nobody may see."""

    shows: ClassVar[tuple[Sight, ...]] = (Sight.INPUT,)
    entries: Tensor
    label: Tensor

    def given(self) -> Params:
        return {"entries": self.entries}

    def nll(self, params: Params) -> Tensor:
        return torch.nn.functional.cross_entropy(params["answer"], self.label, reduction="none")


class Loop(UpdateRule):
    """A recurrent network that is shown its input at every step."""

    name = "loop"
    sees = Sight.INPUT
    num_features = 4

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.read = nn.GRUCell(3, 4), nn.Linear(4, 2)

    def init(self, params: Params) -> State:
        num = len(params["answer"])
        return {"entries": torch.zeros(num, 3), "hidden": torch.zeros(num, 4)}

    def shown(self, state: State, given: Params) -> State:
        return {**state, **given}

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        assert not loss.any()
        assert not grads["answer"].any()
        hidden = self.cell(state["entries"], state["hidden"])
        return Step({"answer": self.read(hidden) - params["answer"]}, {**state, "hidden": hidden}, hidden)


def bowls(num: int = 5, **settings: float | Tensor) -> Bowls:
    at = torch.linspace(0.1, 1.0, num)
    return Bowls({"x": torch.full((num, 1), 0.5)}, at, **settings)  # type: ignore[arg-type]


def sums(num: int = 5) -> Sums:
    entries = torch.randn(num, 3, generator=torch.Generator().manual_seed(0))
    return Sums({"answer": torch.zeros(num, 2)}, entries, (entries.sum(1) > 0).long())


def by_hand(rule: Stepping, problems: Bowls) -> tuple[Tensor, Tensor]:
    """Queries and values, with their graph."""
    x, queries, values = rule.first.expand(problems.num), [], []
    for step in range(1, K + 1):
        queries.append(x)
        values.append(problems.observe((x - problems.at).square(), step))
        x = x + rule.stride - rule.share * values[-1]
    return torch.stack(queries), torch.stack(values)


@pytest.mark.parametrize("through_path", [False, True])
def test_a_search_is_what_can_be_written_down(through_path: bool) -> None:
    rule, problems = Stepping(), bowls()
    rollout = unroll(rule, problems, K, Unrolling(through_path=through_path))
    queries, values = by_hand(rule, problems)
    assert rollout.asked is not None
    torch.testing.assert_close(rollout.asked.queries["x"].squeeze(-1), queries)
    torch.testing.assert_close(rollout.asked.values, values)
    torch.testing.assert_close(rollout.nll[1:], 3 * values.cummin(0).values + 1)
    torch.testing.assert_close(rollout.features[:, :, 0], values)
    weight = torch.linspace(1, 2, K).unsqueeze(-1)
    weights = list(rule.parameters())
    got = torch.autograd.grad((weight * rollout.nll[1:]).sum(), weights)
    if through_path:
        torch.testing.assert_close(got, torch.autograd.grad((weight * 3 * values.cummin(0).values).sum(), weights))
    else:
        assert all(bool(grad) for grad in got[1:])


def test_theta_0_is_not_asked_for() -> None:
    """Though it is the best of all."""
    problems = bowls()
    problems = Bowls({"x": problems.at.unsqueeze(-1)}, problems.at)
    rollout = unroll(Stepping(), problems, K)
    torch.testing.assert_close(rollout.nll[0], torch.ones(5))
    assert bool((rollout.nll[1:] > 1).all())


def test_what_is_returned_is_the_best_that_was_seen_not_the_best_that_was() -> None:
    noise = torch.randn(5, K + 1, generator=torch.Generator().manual_seed(1))
    problems, rule = bowls(noise=noise), Stepping()
    queries, values = by_hand(rule, problems)
    best = torch.stack([values[: t + 1].argmin(0) for t in range(K)])
    expected = (queries.gather(0, best) - problems.at).square() * 3 + 1
    rollout = unroll(rule, problems, K)
    torch.testing.assert_close(rollout.nll[1:], expected)
    torch.testing.assert_close(rollout.params["x"][:, 0], queries.gather(0, best)[-1])
    assert bool((rollout.nll[1:].diff(dim=0) > 0).any())


def test_a_search_can_be_asked_and_told() -> None:
    """Queries proposed and answered by hand are those of the walk, and a query asked elsewhere is seen there."""
    problems, rule = bowls(), Stepping()
    with torch.no_grad():
        rollout, walk = unroll(rule, problems, K), begin(rule, problems)
        assert isinstance(walk, Search)
        for _ in range(K):
            walk.answer(problems.value(walk.propose_query()))
        assert rollout.asked is not None
        assert walk.asked is not None
        torch.testing.assert_close(walk.asked, rollout.asked, rtol=0, atol=0)
        torch.testing.assert_close(walk.nll(), rollout.nll[-1], rtol=0, atol=0)
        elsewhere = {"x": torch.full((5, 1), 0.3)}
        walk.propose_query()
        walk.answer(torch.full((5,), -1.0), at=elsewhere)
        torch.testing.assert_close(walk.params, elsewhere, rtol=0, atol=0)
        torch.testing.assert_close(walk.propose_query()["x"], torch.full((5, 1), 0.3 + 0.2 + 0.01))


def test_a_value_that_is_no_number_is_the_worst_so_far() -> None:
    problems, rule = bowls(blind=0.5), Stepping()
    rollout = unroll(rule, problems, K)
    assert rollout.asked is not None
    x, y = rollout.asked.queries["x"].squeeze(-1), rollout.asked.values
    blind = x > 0.5
    assert bool(blind.any())
    assert bool(y.isfinite().all() & rollout.nll.isfinite().all())
    for t in range(1, K):
        torch.testing.assert_close(y[t][blind[t]], y[:t].max(0).values[blind[t]])


def test_values_without_a_number_teach_nothing() -> None:
    """Though the slope of a root is not finite there."""
    rule, problems = Stepping(), Roots({"x": torch.full((3, 1), 0.5)}, torch.tensor([0.7, 2.0, -1.0]))
    rollout = unroll(rule, problems, K, Unrolling(through_path=True))
    assert rollout.asked is not None
    assert bool((rollout.asked.values[:, 2] == 0).all())
    assert bool(rollout.nll[0, 2].isinf())
    grads = torch.autograd.grad(rollout.nll[1:, :2].sum(), list(rule.parameters()))
    assert all(bool(grad.isfinite()) for grad in grads)
    assert bool(grads[0])


def test_what_is_not_known_yet_is_no_small_loss() -> None:
    """The first value is no number, and those that follow fall from 100."""
    rule, noise = Stepping(), torch.zeros(1, 20)
    noise[0, 1] = torch.nan
    with torch.no_grad():
        rule.share.zero_()
    falling = Bowls({"x": torch.zeros(1, 1)}, torch.tensor([10.0]), noise=noise)
    stopped = run_until_stopped(rule, falling, 15, Patience(2, epsilon=0.0))
    assert int(stopped.step) == 15


@pytest.mark.parametrize("through_path", [False, True])
@pytest.mark.parametrize("truncate", [None, 1, 3])
@pytest.mark.parametrize("num_steps", [9, 12])
def test_a_recomputed_search_has_the_same_gradient(through_path: bool, truncate: int | None, num_steps: int) -> None:
    noise = torch.randn(5, 13, generator=torch.Generator().manual_seed(1))
    rule, problems = Stepping(), bowls(noise=noise)
    whole, again = (
        torch.autograd.grad(
            (rollout.nll * torch.linspace(1, 2, num_steps + 1).unsqueeze(-1)).sum() + rollout.features.square().sum(),
            list(rule.parameters()),
        )
        for rollout in (
            unroll(rule, problems, num_steps, Unrolling(truncate, through_path, recompute))
            for recompute in (False, True)
        )
    )
    torch.testing.assert_close(again, whole)


def test_a_cut_search_teaches_what_came_after_the_cut() -> None:
    rule, problems = Stepping(), bowls()
    rollout = unroll(rule, problems, K, Unrolling(3, through_path=True))
    got = torch.autograd.grad(rollout.nll[1:].sum(), rule.parameters())
    x, lowest, total = rule.first.expand(5), torch.full((5,), math.inf), torch.zeros(())
    for step in range(1, K + 1):
        y = (x - problems.at).square()
        lowest = torch.minimum(lowest, y)
        total = total + 3 * lowest.sum()
        if step == 3:
            x, y, lowest = x.detach(), y.detach(), lowest.detach()
        x = x + rule.stride - rule.share * y
    torch.testing.assert_close(got, torch.autograd.grad(total, rule.parameters()))


def test_the_path_of_a_search_is_what_stopping_returns() -> None:
    noise = torch.randn(5, K + 1, generator=torch.Generator().manual_seed(1))
    problems, rule = bowls(noise=noise), Stepping()
    rollout = unroll(rule, problems, K).with_path(rule)
    assert rollout.path is not None
    for t in range(K):
        torch.testing.assert_close(problems.nll({"x": rollout.path["x"][t]}), rollout.nll[t + 1].detach())
    torch.testing.assert_close(rollout.path["x"][-1], rollout.params["x"])


def test_a_stop_rule_that_reads_a_gradient_is_refused() -> None:
    with pytest.raises(ValueError, match="stop rule 'gradient': expected a rule that sees its loss and gradient"):
        run_until_stopped(Stepping(), bowls(), K, GradientNorm())


def test_stopped_problems_leave_a_search_as_if_the_others_went_on() -> None:
    noise = torch.randn(8, 2 * K, generator=torch.Generator().manual_seed(1))
    problems, rule = bowls(8, noise=noise), Stepping()
    with torch.no_grad():
        together, apart = (
            run_until_stopped(rule, problems, K, Patience(2, epsilon=0.0), compact=compact) for compact in (True, False)
        )
        rollout = unroll(rule, problems, K)
    torch.testing.assert_close(together.nll, apart.nll)
    torch.testing.assert_close(together.nll, rollout.nll[together.step, torch.arange(8)])


@pytest.mark.parametrize("through_path", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_a_computation_is_the_network_itself(through_path: bool, recompute: bool) -> None:
    torch.manual_seed(0)
    rule, problems = Loop(), sums()
    rollout = unroll(rule, problems, K, Unrolling(through_path=through_path, recompute=recompute))
    hidden, expected = torch.zeros(5, 4), []
    for _ in range(K):
        hidden = rule.cell(problems.entries, hidden)
        answer = {"answer": rule.read(hidden)}
        expected.append(problems.nll(answer))
    torch.testing.assert_close(rollout.nll[1:], torch.stack(expected))
    weights = list(rule.parameters())
    got = torch.autograd.grad(rollout.nll[1:].sum(), weights)
    torch.testing.assert_close(got, torch.autograd.grad(torch.stack(expected).sum(), weights))


def test_a_computation_never_sees_the_label() -> None:
    torch.manual_seed(0)
    rule, problems = Loop(), sums()
    other = Sums(problems.theta0, problems.entries, 1 - problems.label)
    torch.testing.assert_close(unroll(rule, problems, K).features, unroll(rule, other, K).features, rtol=0, atol=0)


def test_rules_and_problems_have_to_agree() -> None:
    with pytest.raises(ValueError, match="rule 'adam': expected problems that show its loss and gradient, got Sums"):
        begin(RULES.build("adam", {"lr": 0.1}), sums())
    with pytest.raises(ValueError, match="which shows its loss and gradient"):
        try_rule(Stepping(), FAMILIES.build("quadratic").sample(3, torch.Generator().manual_seed(0)))
    with pytest.raises(ValueError, match="safeguard: expected a rule that sees its loss and gradient"):
        Safeguarded(Stepping())


@pytest.mark.parametrize("name", ["looks", "compile"])
@pytest.mark.parametrize(("rule", "problems"), [(Stepping(), bowls()), (Loop(), sums())])
def test_what_is_for_optimizers_alone_is_refused(name: str, rule: UpdateRule, problems: Optimizee) -> None:
    unrolling = Unrolling(looks=Looks(0.05)) if name == "looks" else Unrolling(compiled=True)
    with pytest.raises(ValueError, match=f"{name}: expected a rule that sees its gradient, got rule '{rule.name}'"):
        unroll(rule, problems, K, unrolling)


class Encoding(Loop):
    """Reads its input once, by weights of its own; counts its steps and what it is told."""

    name = "encoding"
    steps = 0
    left: ClassVar[list[float]] = []

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(3, 3)

    def shown(self, state: State, given: Params) -> State:
        return {**state, "entries": self.encode(given["entries"])}

    @property
    def plans(self) -> bool:
        return True

    def told(self, state: State, plan: Plan) -> State:
        Encoding.left.append(float(plan.left[0]))
        return state

    def step(self, grads: Params, state: State, params: Params, loss: Tensor) -> Step:
        Encoding.steps += 1
        return super().step(grads, state, params, loss)


@pytest.mark.parametrize("truncate", [None, 2])
def test_a_recomputed_gradient_reaches_what_was_made_of_the_input(truncate: int | None) -> None:
    torch.manual_seed(0)
    rule, problems = Encoding(), sums()
    whole, again = (
        torch.autograd.grad(
            unroll(rule, problems, K, Unrolling(truncate, recompute=recompute)).nll.sum(), list(rule.parameters())
        )
        for recompute in (False, True)
    )
    torch.testing.assert_close(again, whole)
    assert bool(whole[-2].any())


def test_halting_at_t_costs_t_steps_and_sees_the_answer_at_hand() -> None:
    torch.manual_seed(0)
    rule, problems = Encoding(), sums()
    Encoding.steps = 0
    rollout = unroll(rule, problems, K)
    assert Encoding.steps == K
    hidden = torch.zeros(5, 4)
    for t in range(K):
        hidden = rule.cell(rule.encode(problems.entries), hidden)
        torch.testing.assert_close(rollout.features[t, :, :4], hidden)
    with torch.no_grad():
        run_until_stopped(rule, problems, K, Budget(3))
    assert Encoding.steps == K + 3


def test_halting_sees_online_what_the_unroll_tells() -> None:
    torch.manual_seed(0)
    rule, problems = Loop(), sums()
    features = unroll(rule, problems, K).features
    walk = begin(rule, problems)
    with torch.no_grad():
        for t in range(K):
            walk.move()
            torch.testing.assert_close(walk.look().features, features[t])


def test_what_leaves_a_computation_changes_nothing_for_the_others() -> None:
    torch.manual_seed(0)
    rule, problems = Loop(), sums()
    features, left = unroll(rule, problems, K).features, torch.tensor([0, 3, 4])
    for looks_before in (True, False):
        walk = begin(rule, problems)
        with torch.no_grad():
            walk.move()
            if looks_before:
                walk.look()
            walk.keep(left)
            for t in range(1, K):
                walk.move()
                torch.testing.assert_close(walk.look().features, features[t, left])


def test_a_computation_is_told_how_many_steps_there_are() -> None:
    Encoding.left = []
    unroll(Encoding(), sums(), K, Unrolling(total_steps=K))
    assert Encoding.left == [float(K - t) for t in range(K)]


def test_the_border_tries_all_kinds() -> None:
    try_rule(Stepping(), bowls())
    try_rule(Loop(), sums())
