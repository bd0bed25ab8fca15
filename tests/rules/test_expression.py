"""The rule ``expression``: formulas are read and written, and mean what the papers say."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st

from probact.rules.base import RULES, UpdateRule
from probact.rules.expressions.grammar import BINARY, EPS, OPERANDS, UNARY, Node, nodes
from probact.rules.expressions.parser import cache_key, canonical, parse, written
from probact.rules.expressions.rule import Expression
from probact.rules.plan import Plan
from probact.support.trees import Params, map_params, map_state
from probact.testing import check_rule
from probact.unrolling.rollout import unroll
from tests.helpers.checks import problems

STOCHASTIC = ("noise", "drop .1", "drop .3", "drop .5")
leaf = st.sampled_from(sorted(OPERANDS)).map(Node)


def larger(of: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    unary = st.builds(lambda name, x: Node(name, (x,)), st.sampled_from(sorted(UNARY)), of)
    binary = st.builds(lambda name, x, y: Node(name, (x, y)), st.sampled_from(sorted(BINARY)), of, of)
    return unary | binary


trees = st.recursive(leaf, larger, max_leaves=8)


def gradients(num: int = 3, seed: int = 0, names: tuple[str, ...] = ("a", "b")) -> Params:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((num, 4), (num, 2, 3))
    return {name: torch.randn(*shape, generator=generator) for name, shape in zip(names, shapes, strict=True)}


def updates(rule: UpdateRule, steps: int = 6, plan: Plan | None = None) -> list[Params]:
    params, made = gradients(seed=99), []
    state = rule.init(params)
    for step in range(steps):
        if plan is not None:
            state = rule.told(state, plan._replace(left=plan.total - step))
        update, state, _ = rule.step(gradients(seed=step), state, params, torch.zeros(3))
        params = map_params(torch.add, params, update)
        made.append(update)
    return made


def assert_alike(one: list[Params], other: list[Params], rtol: float = 1e-6) -> None:
    for left, right in zip(one, other, strict=True):
        for name in left:
            torch.testing.assert_close(left[name], right[name], rtol=rtol, atol=1e-7)


@settings(deadline=None)
@given(trees)
def test_what_is_written_reads_as_it_was(tree: Node) -> None:
    assert parse(written(tree)) == tree


@settings(deadline=None)
@given(trees)
def test_the_canonical_form_is_one(tree: Node) -> None:
    once = canonical(tree)
    assert canonical(once) == once
    assert parse(cache_key(tree)) == once
    assert not {"identity", "left"} & {node.name for node in nodes(once)}


@settings(deadline=None, max_examples=50)
@given(trees.filter(lambda tree: not any(node.name in STOCHASTIC for node in nodes(tree))))
def test_the_canonical_form_means_the_same(tree: Node) -> None:
    rule, as_given = Expression(written(tree), lr=0.1), Expression(lr=0.1)
    as_given.tree = tree
    as_given._means = rule._means = ["gamma", "m", "square", "v"]
    assert_alike(updates(rule, 2), updates(as_given, 2), rtol=1e-4)


def at_random_points(tree: Node) -> torch.Tensor:
    """The formula where every operand is a random number of its own, of either sign, in double precision."""
    if not tree.children:
        seed = sorted(OPERANDS).index(tree.name)
        return torch.randn(64, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    parts = [at_random_points(child) for child in tree.children]
    if tree.name.startswith("drop"):
        return parts[0] * (torch.arange(64) % 3 > 0)
    return UNARY[tree.name](parts[0], None, 1) if len(parts) == 1 else BINARY[tree.name](*parts)  # type: ignore[arg-type]


@settings(deadline=None)
@given(trees.filter(lambda tree: Node("1") not in nodes(tree)))
def test_the_canonical_form_is_the_same_number(tree: Node) -> None:
    """Whatever stands for the operands: signs moved and terms swapped change nothing."""
    torch.testing.assert_close(
        at_random_points(canonical(tree)), at_random_points(tree), rtol=1e-6, atol=1e-9, equal_nan=True
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [("g * exp(sign(m) * sign(g))", "exp(sign(g) * sign(m)) * g"), ("--g", "g"), ("1 * g * 1", "identity(g)"),
     ("left(m, v)", "m"), ("sign(sign(m))", "sign(m)"), ("clip(g, .0001)", "clip(g, 1e-4)"),
     ("momentum - -g", "g + momentum"), ("m + -g", "m - g"), ("-g + m", "m - g"), ("-g - m", "-(m + g)"),
     ("-g - -m", "m - g"), ("-(g - m)", "m - g"), ("-g * m", "-(m * g)"), ("-g * -m", "m * g"), ("-g / m", "-(g / m)"),
     ("sign(-g)", "-sign(g)"), ("sqrt(-g)", "sqrt(g)"), ("clip(-g, 1e-3) - m", "-(m + clip(g, 1e-3))"),
     ("drop(--g, .1)", "drop(g, .1)"), ("exp(-(g - m))", "exp(m - g)"), ("m - (-1 * g)", "g + m")],
)  # fmt: skip
def test_equal_rules_have_one_key(first: str, second: str) -> None:
    assert cache_key(parse(first)) == cache_key(parse(second))


@pytest.mark.parametrize(
    "pair",
    [
        ("g - m", "m - g"),
        ("g / m", "m / g"),
        ("-(g + m)", "-g + m"),
        ("g - (m - v)", "g - m - v"),
        ("exp(-g)", "-exp(g)"),
        ("g / -m", "-(g / m)"),
        ("-g - m", "m - g"),
    ],
)
def test_other_rules_have_other_keys(pair: tuple[str, str]) -> None:
    assert cache_key(parse(pair[0])) != cache_key(parse(pair[1]))


@pytest.mark.parametrize(
    ("text", "word"),
    [("", "an empty text"), ("foo", "'foo'"), ("exp(g, m)", "1 in all, got 2"), ("left(g)", "2 in all, got 1"),
     ("clip(g)", "1e-5 or 1e-4 or 1e-3"), ("drop(g, .2)", ".1 or .3 or .5"), ("g g", "word 2"), ("(g", "its end"),
     ("g +", "its end"), ("__import__('os')", "unknown word"), ("(" * 300, "at most 250 words"), ("3", "'3'"),
     ("clip(g, .)", "'.'"), ("exp", "expected (")],
)  # fmt: skip
def test_what_is_no_formula_is_refused(text: str, word: str) -> None:
    with pytest.raises(ValueError, match="formula") as found:
        parse(text)
    assert word in str(found.value)
    assert "\n" not in str(found.value)


BUILT_IN: list[tuple[str, str, dict[str, Any], float]] = [
    ("g", "sgd", {}, 1.0),
    ("momentum", "momentum", {}, 1.0),
    ("rmsprop", "rmsprop", {}, 1.0),
    ("adam", "adam", {}, 1.0),
    ("g * exp(sign(g) * sign(m))", "powersign", {}, 1.0),
    ("(1 + sign(g) * sign(m)) * g", "addsign", {}, 1.0),
    ("(exp(sign(g) * sign(m)) + clip(g, 1e-4)) * g", "clipsign", {}, 1.0),
    ("adam * exp(sign(g) * sign(m))", "adamsign", {}, 1.0),
    ("adam * cosine", "adamw-cosine", {"weight_decay": 0.0}, 1.0),
    ("adam + 1e-2w", "adamw", {"weight_decay": 0.01}, 1.0),
]


@pytest.mark.parametrize(("expr", "name", "options", "factor"), BUILT_IN)
def test_known_rules_are_the_built_in_ones(
    expr: str, name: str, options: dict[str, Any], factor: float, double: None
) -> None:
    plan = Plan.of(torch.full((3,), 9.0)) if "cosine" in expr else None
    assert_alike(updates(Expression(expr, lr=0.03), 8, plan), updates(RULES[name](lr=0.03, **options), 8, plan))


def test_moments_are_corrected_running_means(double: None) -> None:
    """m, v and gamma by their sums: mean_t = (1 - b) sum_s b^(t-s) g_s^p / (1 - b^t)."""
    for operand, power, decay in (("m", 1, 0.9), ("v", 2, 0.999), ("gamma", 3, 0.999)):
        made = updates(Expression(operand, lr=1.0), 5)
        for t in range(1, 6):
            total = sum(decay ** (t - s) * gradients(seed=s - 1)["a"] ** power for s in range(1, t + 1))
            torch.testing.assert_close(made[t - 1]["a"], -(1 - decay) * total / (1 - decay**t))


def test_functions_are_what_they_say(double: None) -> None:
    g = gradients(seed=0)["a"]
    for expr, value in {
        "exp(2 * 2 * 2 * 2 * 2)": torch.full_like(g, math.exp(20)),
        "log(g)": g.abs().log(),
        "sqrt(g)": g.abs().sqrt(),
        "clip(g, 1e-3)": g.clamp(-1e-3, 1e-3),
        "g / m": g / (g + EPS),
        "g3 - g2": g**3 - g**2,
        "1e-1w": 0.1 * gradients(seed=99)["a"],
        "linear * 2": torch.full_like(g, 2.0),
    }.items():
        torch.testing.assert_close(updates(Expression(expr, lr=1.0), 1)[0]["a"], -value)


def test_decays_follow_the_plan(double: None) -> None:
    plan = Plan.of(torch.full((3,), 8.0))
    linear = [float(made["a"][0, 0]) for made in updates(Expression("linear", lr=1.0), 8, plan)]
    assert linear == pytest.approx([-(8 - step) / 8 for step in range(8)])
    restart = [float(made["a"][0, 0]) for made in updates(Expression("restart", lr=1.0), 8, plan)]
    assert restart == pytest.approx([-1, -0.5] * 4)
    assert Expression("m * linear").plans
    assert not Expression("m").plans


@pytest.mark.parametrize("expr", ["log(1 - 1)", "exp(exp(2)) / (g - g) * exp(exp(2)) / (m - m)", "log(1 - 1) * v"])
def test_what_is_not_finite_moves_nothing(expr: str) -> None:
    for made in updates(Expression(expr, lr=1.0), 3):
        assert all(tensor.isfinite().all() for tensor in made.values())
    assert not any(tensor.any() for tensor in updates(Expression("log(1 - 1)"), 1)[0].values())


def test_noise_is_a_function_of_seed_row_and_step() -> None:
    first, second = updates(Expression("noise"), 2)
    again = updates(Expression("noise"), 2)
    assert_alike([first, second], again, rtol=0)
    other = updates(Expression("noise", seed=1), 2)[0]
    assert not torch.equal(first["a"], second["a"])
    assert not torch.equal(first["a"], other["a"])
    assert not torch.equal(first["a"][0], first["a"][1])
    assert not torch.equal(first["a"].flatten(1)[:, :2], first["b"].flatten(1)[:, :2])


def test_noise_and_drop_have_their_size() -> None:
    grads = {"a": torch.ones(5, 4000)}
    for expr, mean, deviation in (("noise", 0.0, 0.1), ("drop(g, .3)", 0.7, 0.7**0.5 * 0.3**0.5)):
        rule = Expression(expr, lr=1.0)
        update = -rule.step(grads, rule.init(grads), grads, torch.zeros(5)).update["a"]
        assert float(update.mean()) == pytest.approx(mean, abs=4 * deviation / 20000**0.5)
        assert float(update.std()) == pytest.approx(deviation, rel=0.05)
    rule = Expression("drop(1, .5) - drop(1, .5)", lr=1.0)
    masks = rule.step(grads, rule.init(grads), grads, torch.zeros(5)).update["a"]
    assert masks.any(), "two drops of one rule are of other coordinates"


def test_a_row_that_stays_goes_on_as_if_the_others_were_there() -> None:
    rule, params = Expression("drop(momentum, .3) + noise", lr=1.0), gradients(seed=9)
    state = rule.step(gradients(seed=0), rule.init(params), params, torch.zeros(3)).state
    index = torch.tensor([2, 0])
    whole = rule.step(gradients(seed=1), state, params, torch.zeros(3)).update
    some = rule.step(
        map_params(lambda t: t[index], gradients(seed=1)), map_state(lambda t: t[index], state),
        map_params(lambda t: t[index], params), torch.zeros(2),
    ).update  # fmt: skip
    assert_alike([map_params(lambda t: t[index], whole)], [some], rtol=0)


def test_it_is_a_rule() -> None:
    check_rule(Expression, expr="clip(m, 1e-3) * linear + 1e-2w / sqrt(gamma) + g * exp(sign(g) * sign(m))")


def test_it_trains_networks() -> None:
    """From 2.3 nats an image, of which x has 64."""
    nll = unroll(Expression("g * exp(sign(g) * sign(m))", lr=1.0), problems("digits", 2), 60).nll
    assert float(nll[-1].mean()) < 0.5 * float(nll[0].mean())
