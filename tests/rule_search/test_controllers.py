"""What writes rules."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st

from probact.rule_search.controllers.base import CONTROLLERS, Controller, Scored
from probact.rule_search.controllers.evolution import Evolution
from probact.rule_search.programs import DEEPEST, GROUP, MOST_CHOICES, Program, draw, num_choices, tree_of
from probact.rules.expressions.grammar import BINARY, OPERANDS, UNARY, Node
from probact.rules.expressions.parser import parse, written
from probact.support.randomness import random_stream


def depth_of(tree: Node) -> int:
    """Binary functions above each other."""
    return max((depth_of(child) for child in tree.children), default=0) + (len(tree.children) == 2)


def scored(programs: list[Program]) -> list[Scored]:
    return [Scored(program, float(program[2] == 1) + 0.1 * (program[4] == 0), True) for program in programs]


def test_a_program_says_a_rule() -> None:
    operands, unary, binary = list(OPERANDS), list(UNARY), list(BINARY)
    first = [operands.index("g"), operands.index("m"), unary.index("sign"), unary.index("sign"), binary.index("*")]
    second = [len(OPERANDS), operands.index("g"), unary.index("exp"), unary.index("identity"), binary.index("*")]
    assert tree_of([*first, *second]) == parse("exp(sign(g) * sign(m)) * identity(g)")


@settings(deadline=None)
@given(st.integers(1, DEEPEST), st.integers(0, 2**31))
def test_every_program_is_a_formula_of_its_depth(depth: int, seed: int) -> None:
    program = draw(depth, torch.Generator().manual_seed(seed))
    assert all(0 <= word < num_choices(place) <= MOST_CHOICES for place, word in enumerate(program))
    tree = tree_of(program)
    assert parse(written(tree)) == tree
    assert 1 <= depth_of(tree) <= depth


@pytest.mark.parametrize("name", list(CONTROLLERS))
@pytest.mark.parametrize("depth", [1, 3])
def test_it_goes_on_bit_for_bit(name: str, depth: int) -> None:
    def steps(controller: Controller, num: int) -> list[Program]:
        made = []
        for _ in range(num):
            made += (some := controller.propose(10))
            controller.learn(scored(some))
        return made

    one, other = CONTROLLERS[name](depth, 4), CONTROLLERS[name](depth, 7)
    steps(one, 11 if name == "evolution" else 3)
    other.load_state(one.to_state())
    made = steps(one, 3)
    assert made == steps(other, 3)
    assert all(len(program) == depth * GROUP for program in made)
    assert made[:10] != CONTROLLERS[name](depth, 7).propose(10)


@pytest.mark.parametrize(("name", "at_least"), [("lstm", 0.6), ("evolution", 0.6)])
def test_it_learns_what_is_rewarded(name: str, at_least: float) -> None:
    controller = CONTROLLERS[name](1, 0)
    for _ in range(50):
        last = controller.propose(10)
        controller.learn(scored(last))
    assert sum(program[2] == 1 for program in last) / 10 >= at_least > 3 / len(UNARY)


def test_random_learns_nothing() -> None:
    taught, other = CONTROLLERS["random"](2, 0), CONTROLLERS["random"](2, 0)
    first = taught.propose(10)
    taught.learn(scored(first))
    assert other.propose(20)[10:] == taught.propose(10)


def test_evolution_changes_one_word_of_the_best_of_ten() -> None:
    controller = Evolution(2, 0)
    generator = random_stream("draws", 5)
    living = [draw(2, generator) for _ in range(controller.population)]
    controller.learn([Scored(program, float(place), True) for place, program in enumerate(living)])
    children = controller.propose(200)
    parents = []
    for child in children:
        off = [sum(a != b for a, b in zip(child, program, strict=True)) for program in living]
        assert min(off) == 1
        parents.append(off.index(1))
    median = sorted(parents)[100]
    assert 90 <= median <= 96, "the largest of ten of a hundred: 93 in the middle"


@pytest.mark.parametrize(("rules", "population", "sample"), [(1000, 100, 10), (200, 100, 10), (60, 30, 6), (4, 2, 2)])
def test_a_short_search_evolves_in_its_second_half(rules: int, population: int, sample: int) -> None:
    controller = Evolution(1, 0, rules)
    assert (controller.population, controller.sample) == (population, sample)
    assert f"the first {population} rules are drawn at random" in controller.note
    first = controller.propose(population)
    assert first == [draw(1, generator) for generator in [random_stream("draws", 0)] for _ in range(population)]
    controller.learn(scored(first))
    for child in controller.propose(20):
        assert min(sum(a != b for a, b in zip(child, parent, strict=True)) for parent in first) <= 1
    longer = Evolution(1, 0, 10_000)
    longer.load_state(controller.to_state())
    assert longer.population == population, "a search that goes on keeps what it began with"


def test_entropy_grows_while_rules_repeat() -> None:
    controller = CONTROLLERS["lstm"](1, 0)
    before = controller.entropy_weight
    for is_new, larger in ((True, False), (False, True)):
        controller.learn([one._replace(is_new=is_new) for one in scored(controller.propose(10))])
        assert (controller.entropy_weight > before) is larger
