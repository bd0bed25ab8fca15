"""Searches of functions by their values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from probact.problems.base import FAMILIES
from probact.problems.gaussian_process import Draws
from probact.rules.base import RULES, UpdateRule
from probact.rules.hand_designed import hand_designed
from probact.stopping.online import run_until_stopped
from probact.stopping.rules import ExpectedImprovement
from probact.testing.rules import check_rule
from probact.unrolling.rollout import Rollout, unroll

H = 12


def functions(num: int = 40, seed: int = 0, family: str = "gp-1d", **options: Any) -> Draws:
    drawn = FAMILIES.build(family, options).sample(num, torch.Generator().manual_seed(seed)).to(torch.float64)
    assert isinstance(drawn, Draws)
    return drawn


def moved(rule: UpdateRule) -> UpdateRule:
    """With weights that move queries, in double precision."""
    torch.manual_seed(0)
    for weight in rule.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return rule.double()


def searched(rule: UpdateRule, problems: Draws, horizon: int = H) -> Rollout:
    with torch.no_grad():
        return unroll(rule.double(), problems, horizon)


def queries(rollout: Rollout) -> Tensor:
    assert rollout.asked is not None
    return rollout.asked.queries["x"]


def regret(rollout: Rollout, problems: Draws) -> Tensor:
    return (rollout.nll - (2 * problems.scale).log()) * problems.scale


@pytest.mark.parametrize("name", ["random-search", "gp-ei", "lstm-search"])
def test_it_keeps_the_promises_of_a_rule(name: str) -> None:
    check_rule(RULES[name])


@pytest.mark.parametrize(("name", "options"), [("gp-ei", {"length": "mixed"}), ("lstm-search", {})])
@pytest.mark.parametrize(("factor", "offset"), [(1e3, 0.0), (1e-3, 0.0), (1.0, 100.0)])
def test_neither_unit_nor_offset_changes_a_query(
    name: str, options: dict[str, Any], factor: float, offset: float
) -> None:
    problems = functions(10)
    rule = moved(RULES.build(name, options))
    offsets = torch.full((10, 256), offset, dtype=torch.float64)
    other = replace(problems, amplitudes=factor * problems.amplitudes, noise=offsets)
    torch.testing.assert_close(queries(searched(rule, other)), queries(searched(rule, problems)), rtol=0, atol=2e-3)


def test_halting_sees_no_unit_either() -> None:
    """The price being in the same unit."""
    problems = functions(10)
    other = replace(
        problems,
        amplitudes=1e3 * problems.amplitudes,
        lowest=1e3 * problems.lowest,
        price=1e3 * problems.price,
        scale=1e3 * problems.scale,
    )
    rule = RULES.build("lstm-search").double()
    seen, same = searched(rule, other).features, searched(rule, problems).features
    torch.testing.assert_close(seen, same, rtol=1e-2, atol=1e-2)
    dearer = replace(problems, price=2 * problems.price)
    assert not torch.allclose(searched(rule, dearer).features, same, atol=1e-2)


def test_untrained_it_asks_where_most_is_expected() -> None:
    problems = functions(10)
    rule, ei = RULES.build("lstm-search"), RULES.build("gp-ei", {"length": "mixed"})
    torch.testing.assert_close(queries(searched(rule, problems)), queries(searched(ei, problems)))
    assert bool((queries(searched(rule, problems))[0] == 0.5).all())


def test_more_is_known_the_lower_the_regret() -> None:
    """A kernel that is known beats one that is not, and that beats chance."""
    problems = functions(150, seed=1)
    known, mixed, fitted, random = (
        regret(searched(RULES.build(name, options), problems), problems).mean(1)
        for name, options in (
            ("gp-ei", {"length": "known"}),
            ("gp-ei", {"length": "mixed"}),
            ("gp-ei", {}),
            ("random-search", {}),
        )
    )
    assert float(known[5]) < float(mixed[5]) < float(random[5]) / 1.5
    assert float(known[12]) < 0.02
    assert float(mixed[12]) < float(random[12]) / 4
    assert float(fitted[12]) < float(random[12]) / 3


def test_random_queries_are_uniform_and_of_their_own() -> None:
    problems = functions(200, family="gp-2d")
    asked = queries(searched(RULES.build("random-search", {"seed": 3}), problems))[1:]
    assert float(asked.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(asked.var()) == pytest.approx(1 / 12, abs=0.004)
    assert not torch.equal(asked[:, 0], asked[:, 1])
    again = queries(searched(RULES.build("random-search", {"seed": 4}), problems))[1:]
    assert not torch.equal(asked, again)


@pytest.mark.parametrize("through_path", [False, True])
def test_a_gradient_reaches_the_lstm_through_the_values(through_path: bool) -> None:
    rule = moved(RULES.build("lstm-search"))
    rollout = unroll(rule, functions(8), 5)
    grads = dict(
        zip(
            (names := [name for name, _ in rule.named_parameters() if not name.startswith("read")]),
            torch.autograd.grad(rollout.nll[1:].sum(), [dict(rule.named_parameters())[name] for name in names]),
            strict=True,
        )
    )
    assert all(bool(grad.any()) and bool(grad.isfinite().all()) for grad in grads.values())


def test_it_goes_on_beyond_its_horizon() -> None:
    """In twice the steps the regret never rises, and nothing that is told is no number."""
    problems = functions(20)
    rollout = searched(RULES.build("lstm-search"), problems, 40)
    assert bool((rollout.nll[1:].diff(dim=0) <= 0).all())
    assert bool(rollout.features.isfinite().all())


def test_noise_is_lived_with() -> None:
    problems = functions(60, noise=0.1, length="0.2:0.5")
    careful = searched(RULES.build("gp-ei", {"noise": 0.1, "length": "mixed"}), problems, 15)
    random = searched(RULES.build("random-search"), problems, 15)
    assert float(regret(careful, problems)[15].mean()) < float(regret(random, problems)[15].mean())


def test_an_own_rule_stops_where_less_is_expected_than_it_costs() -> None:
    problems = functions(60, seed=2)
    rule = RULES.build("gp-ei", {"length": "known"}).double()
    cost = float((problems.price / problems.scale)[0])
    stopped = run_until_stopped(rule, problems, 20, ExpectedImprovement.of_price(cost))
    assert 3 < float(stopped.step.double().mean()) < 10
    assert float(regret(searched(rule, problems, 20), problems).mean(1)[20]) < 0.01
    with pytest.raises(ValueError, match="stop rule 'expected-improvement': expected a search that expects gains"):
        run_until_stopped(RULES.build("random-search"), problems, 5, ExpectedImprovement())


def test_they_are_no_rules_with_a_rate() -> None:
    assert not set(hand_designed()) & {"random-search", "gp-ei", "lstm-search"}
    assert RULES["gp-ei"].is_baseline
    assert RULES["random-search"].is_baseline
    assert not RULES["lstm-search"].is_baseline


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("gp-ei", {"length": "guessed"}, "rule 'gp-ei': expected length fitted, mixed or known, got 'guessed'"),
        ("gp-ei", {"kernel": "cubic"}, "rule 'gp-ei': expected kernel rbf or matern52, got str 'cubic'"),
        ("gp-ei", {"noise": "-1"}, "rule 'gp-ei': expected noise >= 0"),
        ("lstm-search", {"dim": "0"}, "rule 'lstm-search': expected dim >= 1"),
        ("random-search", {"seed": "-1"}, "rule 'random-search': expected seed >= 0"),
    ],
)
def test_what_cannot_be_is_refused(name: str, options: dict[str, str], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        RULES.build(name, options)


def test_another_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match="rule 'lstm-search': expected functions of dim 1 variables, got 2"):
        searched(RULES.build("lstm-search"), functions(2, family="gp-2d"))
