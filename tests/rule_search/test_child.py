"""What a rule is tried on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from probact.problems.base import FAMILIES
from probact.rule_search.child import EPOCH, EPOCHS, LOOKS, NETWORKS, RATES, Child, problems_of
from probact.rule_search.halting import Halting, Never
from probact.rule_search.lot import Lot
from probact.rules.expressions.grammar import Node
from probact.rules.expressions.parser import canonical, parse
from probact.rules.expressions.rule import Expression
from probact.support.randomness import random_stream
from probact.support.trees import flatten
from probact.unrolling.begin import begin
from probact.unrolling.walk import Unrolling

RULES = ("drop(momentum, .3) + noise", "adam * linear")


def trees(*rules: str) -> list[Node]:
    return [canonical(parse(rule)) for rule in rules]


def test_a_lot_makes_the_steps_of_the_rule() -> None:
    """Side by side at several rates as each alone in an ordinary unroll, noise included."""
    problems, rates = problems_of("digits", NETWORKS, 3), torch.tensor([[0.05, 0.2]]).expand(2, -1)
    lot = Lot(problems, trees(*RULES), rates, 5, seed=5)
    with torch.no_grad():
        for _ in range(5):
            lot.step()
        for row, rule in enumerate(RULES):
            for column, lr in enumerate((0.05, 0.2)):
                walk = begin(Expression(rule, lr=lr, seed=5), problems, unrolling=Unrolling(total_steps=5))
                for _ in range(5):
                    walk.move()
                start = (row * 2 + column) * NETWORKS
                torch.testing.assert_close(
                    lot.theta[start : start + NETWORKS], flatten(walk.params), rtol=2e-3, atol=2e-4
                )


def test_rows_are_split_three_ways() -> None:
    """Training and validation rows are a family's training rows, each once; its held-out rows are for judging."""
    drawn = FAMILIES.build("digits").sample(2, random_stream("train", 0))
    inputs, _, held_out, _ = drawn.data.tensors
    kept, labels, scored, _ = problems_of("digits", 2, 0).data.tensors
    assert len(kept) + len(scored) == len(inputs)
    assert len(labels) == len(kept)
    together = torch.cat([kept, scored]).sum(-1).sort().values
    torch.testing.assert_close(together, inputs.sum(-1).sort().values)
    judged = problems_of("digits", 2, 0, test=True).data.tensors
    assert torch.equal(judged[2], held_out)
    assert torch.equal(judged[0], kept)


def test_rewards_tell_good_rules_from_bad_ones() -> None:
    child = Child()
    good, bad, still = child.try_out(trees("adam", "-g", "1 - 1"))
    assert good.accuracy == good.reward > 0.85
    assert good.rate in [pytest.approx(rate) for rate in RATES]
    assert bad.reward < 0.4
    assert still.loss == pytest.approx(2.35, abs=0.1), "a network that was never trained"
    assert len(good.curve) == len(LOOKS)
    assert np.isfinite(np.array([*good.curve, *bad.curve])).all()


def test_a_rule_is_tried_as_it_is_alone() -> None:
    child = Child(reward="loss")
    together, alone = child.try_out(trees("momentum", "adam", "g"))[1], child.try_out(trees("adam"))[0]
    assert together.rate == alone.rate
    assert together.reward == pytest.approx(alone.reward, rel=0.02)
    assert alone.reward == -alone.loss


class Scripted(Never):
    """Stops the rules at ``places`` at a look."""

    def __init__(self, at: int, places: set[int]) -> None:
        self.at, self.places, self.seen = at, places, []

    def stops(self, look: int, places: list[int], losses: np.ndarray) -> np.ndarray:
        self.seen.append((look, list(places)))
        return np.array([look == self.at and place in self.places for place in places])


@pytest.mark.parametrize("at", [1, 5])
def test_a_stopped_rule_changes_nothing_for_the_others(at: int) -> None:
    child, halting = Child(), Scripted(at, {0, 2})
    stopped = child.try_out(trees("g", "adam", "noise"), halting)
    whole = child.try_out(trees("g", "adam", "noise"), watch=True)
    assert [one.stopped_at for one in stopped] == [at, 0, at]
    assert stopped[1].reward == pytest.approx(whole[1].reward, abs=0.01)
    assert stopped[0].loss == pytest.approx(whole[0].validation[at - 1], rel=0.01)
    assert len(stopped[0].curve) == at
    assert halting.seen[at] == (at + 1, [1])


def test_all_may_be_stopped() -> None:
    halting: Halting = Scripted(1, {0, 1})
    assert [one.stopped_at for one in Child().try_out(trees("g", "noise"), halting)] == [1, 1]


def test_looks_lie_in_both_trainings() -> None:
    assert list(LOOKS) == sorted(LOOKS)
    assert EPOCH in LOOKS
    assert EPOCH < LOOKS[-1] < EPOCH * EPOCHS


@pytest.mark.parametrize(
    ("family", "reward", "word"),
    [("quadratic", "loss", "family of networks"), ("digits-autoencoder", "accuracy", "no classifier")],
)
def test_other_families_are_refused(family: str, reward: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Child(family, reward)
