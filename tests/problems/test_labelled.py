"""Inputs with a label."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from probact.judging.averaging import score
from probact.problems.base import FAMILIES


def drawn(name: str, num: int = 400, seed: int = 0, **options: Any) -> Any:
    return FAMILIES.build(name, options).sample(num, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("n", "nonzero", "low", "high"), [(16, "", 1, 16), (7, "3:5", 3, 5), (9, "4", 4, 4)])
def test_parity_is_that_of_the_number_of_plus_ones(n: int, nonzero: str, low: int, high: int) -> None:
    problems = drawn("parity", n=n, nonzero=nonzero)
    assert problems.places.shape == (400, n, 1)
    for vector, label, count in zip(problems.places[:, :, 0].tolist(), problems.label, problems.count, strict=True):
        assert int(label) == vector.count(1.0) % 2
        assert int(count) == vector.count(1.0) + vector.count(-1.0) == n - vector.count(0.0)
    assert sorted(set(problems.count.tolist())) == list(range(low, high + 1))
    assert torch.equal(problems.size(), problems.count)
    assert bool((problems.places != 0).any(0).all())  # anywhere
    assert 0.4 < float(problems.label.double().mean()) < 0.6


def test_addition_is_the_sum_of_its_digits() -> None:
    problems = drawn("addition", n=5, numbers="2:4", largest=7)
    values = torch.arange(8.0)
    assert problems.places.shape == (400, 5, 8)
    assert torch.equal((problems.places @ values).sum(1).long(), problems.label)
    assert torch.equal(problems.places.sum(-1).sum(1).long(), problems.count)
    assert not bool(problems.places[:, :, 0].any())
    assert sorted(set(problems.count.tolist())) == [2, 3, 4]
    assert problems.theta0["answer"].shape == (400, 5 * 7 + 1)


def test_guessing_costs_the_log_of_the_number_of_classes() -> None:
    torch.testing.assert_close(drawn("parity").nll(drawn("parity").theta0), torch.full((400,), math.log(2)))
    sums = drawn("addition", n=3, largest=4)
    torch.testing.assert_close(sums.nll(sums.theta0), torch.full((400,), math.log(13)))


def test_labels_are_scored_by_the_hooks_that_evaluate_uses() -> None:
    problems = drawn("parity", 10)
    says_odd = {"answer": torch.tensor([[0.0, 2.0]]).expand(10, 2)}
    right = problems.label == 1
    found = score(problems.held_out_labels(says_odd))
    torch.testing.assert_close(found.accuracy, right.double())
    torch.testing.assert_close(found.log_loss.float(), problems.nll(says_odd))
    torch.testing.assert_close(problems.test_score(says_odd).accuracy, right.float())
    confidence = math.exp(2) / (1 + math.exp(2))
    assert found.calibration_error == pytest.approx(abs(confidence - float(right.double().mean())), abs=1e-6)


@pytest.mark.parametrize(
    ("family", "option", "text", "most"),
    [
        ("parity", "nonzero", "0:3", 16),
        ("parity", "nonzero", "5:2", 16),
        ("parity", "nonzero", "9:17", 16),
        ("parity", "nonzero", "few", 16),
        ("addition", "numbers", "1:", 5),
    ],
)
def test_counts_that_cannot_be_are_refused(family: str, option: str, text: str, most: int) -> None:
    expected = f"family '{family}': {option}: expected LOW:HIGH with 1 <= LOW <= HIGH <= {most}, got '{text}'"
    with pytest.raises(ValueError, match=expected):
        FAMILIES.build(family, {option: text})


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="family 'parity': expected n >= 2 and < 1025, got 1"):
        FAMILIES.build("parity", {"n": 1})
    with pytest.raises(ValueError, match="family 'addition': expected largest >= 1 and < 100, got 0"):
        FAMILIES.build("addition", {"largest": 0})
