"""Networks that compute an answer step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from probact import FAMILIES, RULES, Computation, Optimizee, Params, Sight, State
from probact.rules.base import Step
from probact.unrolling.rollout import unroll
from probact.unrolling.step import init

K = 6


def parity(num: int = 6, n: int = 9, **options: Any) -> Any:
    return FAMILIES.build("parity", {"n": n, **options}).sample(num, torch.Generator().manual_seed(0))


class Counting(Computation):
    """Adds up what it is given, times a weight; answers with the sum and its negative."""

    name = "counting"
    num_features = 1

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def start(self, given: Params) -> State:
        total = given["places"].sum((1, 2))
        return total, torch.zeros_like(total)

    def think(self, state: State) -> tuple[State, Tensor | Params, Tensor]:
        total, sum_so_far = state
        sum_so_far = sum_so_far + self.weight * total
        return (total, sum_so_far), torch.stack([sum_so_far, -sum_so_far], 1), sum_so_far.unsqueeze(1)


def test_a_computation_is_the_loop_that_it_stands_for() -> None:
    rule, problems = Counting(), parity()
    rollout = unroll(rule, problems, K)
    total = problems.places.sum((1, 2))
    for t in range(1, K + 1):
        sums = t * rule.weight * total
        torch.testing.assert_close(rollout.nll[t], problems.nll({"answer": torch.stack([sums, -sums], 1)}))
        torch.testing.assert_close(rollout.features[t - 1, :, 0], sums)
    (got,) = torch.autograd.grad(rollout.nll[1:].sum(), [rule.weight])
    weight = rule.weight.detach().clone().requires_grad_()
    losses = [problems.nll({"answer": torch.stack([t * weight * total, -t * weight * total], 1)}) for t in range(1, 7)]
    torch.testing.assert_close(got, torch.autograd.grad(torch.stack(losses).sum(), [weight])[0])


@dataclass(frozen=True)
class TwoParts(Optimizee):
    """An answer of two parts, each to be near what is given."""

    shows: ClassVar[tuple[Sight, ...]] = (Sight.INPUT,)
    x: Tensor

    def given(self) -> Params:
        return {"x": self.x}

    def nll(self, params: Params) -> Tensor:
        return (params["mean"] - self.x).square().sum(1) + params["scale"].square().sum(1)


class InParts(Counting):
    name = "in-parts"

    def start(self, given: Params) -> State:
        return (given["x"],)

    def think(self, state: State) -> tuple[State, Tensor | Params, Tensor]:
        (x,) = state
        half = x * self.weight
        return (half,), {"scale": half[:, :1], "mean": half}, half[:, :1]


def test_an_answer_may_have_several_parts() -> None:
    x = torch.randn(4, 3)
    problems = TwoParts({"mean": torch.zeros(4, 3), "scale": torch.zeros(4, 1)}, x)
    rollout = unroll(InParts(), problems, 2)
    torch.testing.assert_close(rollout.params, {"mean": x / 4, "scale": x[:, :1] / 4})


@pytest.mark.parametrize(("answer", "got"), [(torch.zeros(6, 3), r"\(6, 3\)"), ({"other": torch.zeros(6, 2)}, "none")])
def test_an_answer_of_another_shape_is_refused(answer: Any, got: str) -> None:
    rule = Counting()
    rule.think = lambda state: (state, answer, torch.zeros(6, 1))  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=rf"think: expected an answer 'answer' of \(6, 2\), got {got}"):
        unroll(rule, parity(), 1)


def reads(rule: Any, problems: Any, num_steps: int) -> Tensor:
    """Which place is read at each step, ``(K, L)``."""
    state, found = init(rule, problems.theta0, problems.given()).state, []
    for _ in range(num_steps):
        before = state.read
        state, _, _ = rule.think(state)
        found.append((state.read - before).argmax(-1))
    return torch.stack(found)


@pytest.mark.parametrize("seed", range(5))
def test_a_reader_begins_with_all_that_is_filled_once_each(seed: int) -> None:
    torch.manual_seed(seed)
    problems = parity(20)
    order = reads(RULES.build("gru-reader"), problems, 9)
    for one in range(20):
        count = int(problems.count[one])
        filled = problems.places[one, :, 0].nonzero().squeeze(1).tolist()
        assert sorted(order[:count, one].tolist()) == filled


@pytest.mark.parametrize("num", [6, 700])
def test_a_reader_answers_alike_whether_it_learns_or_not(num: int) -> None:
    """Without a graph it takes the place that it reads, and works out nothing of the others."""
    torch.manual_seed(0)
    rule, problems = RULES.build("gru-reader"), parity(num)
    learning = unroll(rule, problems, K)
    with torch.no_grad():
        found = unroll(rule, problems, K)
    assert learning.nll.requires_grad
    torch.testing.assert_close(found.nll, learning.nll.detach())
    torch.testing.assert_close(found.features, learning.features.detach())


def test_a_reader_tells_what_is_unread() -> None:
    problems, rule = parity(), RULES.build("gru-reader")
    rollout = unroll(rule, problems, 9)
    steps = torch.arange(1, 10).unsqueeze(1)
    unread = (problems.count - steps).clamp_min(0)
    torch.testing.assert_close(rollout.features[:, :, 0], 4 * torch.exp(-unread.float()))
    torch.testing.assert_close(rollout.features[:, :, 1], unread.float().log1p())


def test_a_reader_sees_one_place_a_step() -> None:
    """What it has not read changes no answer: the other places, were they of the other sign."""
    torch.manual_seed(0)
    rule, one = RULES.build("gru-reader"), parity(8, nonzero="9")
    with torch.no_grad():  # the same order whatever the signs
        rule.score[2].weight.zero_()  # type: ignore[index,union-attr,operator]
    order = reads(rule, one, 9)
    kept = torch.zeros(8, 9, dtype=torch.bool).scatter(1, order[:4].T, True).unsqueeze(-1)
    other = type(one)(one.theta0, torch.where(kept, one.places, -one.places), one.label, one.count)
    here, there = (unroll(rule, problems, 5).with_path(rule).path for problems in (one, other))
    assert here is not None
    assert there is not None
    torch.testing.assert_close(here["answer"][:4], there["answer"][:4], rtol=0, atol=0)
    assert bool((here["answer"][4] != there["answer"][4]).all())


def test_the_weights_of_a_reader_do_not_depend_on_how_many_places_there_are() -> None:
    """Blank places behind the others change nothing, as long as there is something to read."""
    torch.manual_seed(0)
    rule, few = RULES.build("gru-reader"), parity(nonzero="5:9")
    more = torch.nn.functional.pad(few.places, (0, 0, 0, 20))
    many = type(few)(few.theta0, more, few.label, few.count)
    torch.testing.assert_close(unroll(rule, few, 5).nll, unroll(rule, many, 5).nll)


@pytest.mark.parametrize("name", ["gru-loop", "gru-reader"])
@pytest.mark.parametrize("option", ["inputs", "outputs"])
def test_problems_that_are_too_wide_are_refused(name: str, option: str) -> None:
    rule = RULES.build(name, {option: 1})
    with pytest.raises(ValueError, match=f"rule '{name}': {option}: expected at least the .* numbers of the problems"):
        unroll(rule, FAMILIES.build("addition").sample(3, torch.Generator().manual_seed(0)), 2)


def test_problems_that_give_something_else_are_refused() -> None:
    problems = TwoParts({"mean": torch.zeros(4, 3), "scale": torch.zeros(4, 1)}, torch.randn(4, 3))
    expected = r"rule 'gru-reader': expected problems that give 'places' \(L, n, c\) and 'answer' \(L, C\), got 'x'"
    with pytest.raises(ValueError, match=expected):
        unroll(RULES.build("gru-reader"), problems, 2)


def test_a_loop_is_a_cell_of_torch_and_a_linear_readout() -> None:
    torch.manual_seed(0)
    rule, problems = RULES.build("gru-loop", {"hidden_size": 5, "inputs": 12}), parity()
    entries = torch.cat([problems.places[:, :, 0], torch.zeros(6, 3)], 1)
    hidden, weights = torch.zeros(6, 5), rule.cell
    rollout = unroll(rule, problems, 3)
    for t in range(3):
        gates_in = entries @ weights.weight_ih.T + weights.bias_ih  # type: ignore[union-attr,operator]
        gates_on = hidden @ weights.weight_hh.T + weights.bias_hh  # type: ignore[union-attr,operator]
        (r_in, z_in, n_in), (r_on, z_on, n_on) = gates_in.chunk(3, 1), gates_on.chunk(3, 1)
        update = torch.sigmoid(z_in + z_on)
        hidden = (1 - update) * torch.tanh(n_in + torch.sigmoid(r_in + r_on) * n_on) + update * hidden
        answer = (hidden @ rule.read.weight.T + rule.read.bias)[:, :2]  # type: ignore[union-attr,operator]
        torch.testing.assert_close(rollout.nll[t + 1], problems.nll({"answer": answer}))
        torch.testing.assert_close(rollout.features[t, :, :5], hidden)


def test_what_a_user_writes_has_no_other_method() -> None:
    """``start`` and ``think`` are enough, and ``step`` is theirs."""
    assert Computation.__abstractmethods__ == {"start", "think"}
    assert isinstance(Counting().step({}, Counting().start({"places": torch.ones(2, 1, 1)}),
                                      {"answer": torch.zeros(2, 2)}, torch.zeros(2)), Step)  # fmt: skip
