"""Ways to stop a recorded curve, each against a loop that sees one look at a time."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probact.judging.curves.base import CurveRule, first_look
from probact.judging.curves.forecasts import EXPONENTS, PowerLaw, TTest
from probact.judging.curves.plain import Budget, Everything, GrowingPatience, Patience
from probact.judging.curves.prechelt import GeneralizationLoss, ProgressQuotient
from probact.judging.curves.prices import Looks, Price, Priced
from probact.judging.curves.ways import WAYS
from tests.helpers.curves import drawn_curves
from tests.helpers.properties import assert_sees_no_later_look

Score = Callable[[list[float], list[float]], float]
RULES = list(dict.fromkeys(rule for way in WAYS for rule, _ in way.grid))


def looks(price: float = 0.01, scale: float = 1.0) -> Looks:
    return Priced.of(drawn_curves("drawn", scale=scale), Price(price)).looks


def looped(score: Score, seen: Looks) -> np.ndarray:
    """``score`` of the validation and training losses so far, look by look; NaN after the last."""
    found = np.full(seen.valid.shape, np.nan)
    for row, (valid, train, length) in enumerate(
        zip(seen.valid.tolist(), seen.train.tolist(), seen.lengths, strict=True)
    ):
        for t in range(length + 1):
            found[row, t] = score(valid[: t + 1], train[: t + 1])
    return found


def patience(least: float, share: float) -> Score:
    def waited(valid: list[float], _: list[float]) -> float:
        best, since = valid[0], 0
        for loss in valid[1:]:
            if loss < best - (least + share * (valid[0] - best)):
                best, since = loss, 0
            else:
                since += 1
        return since

    return waited


def growing(least: int) -> Score:
    def share(valid: list[float], _: list[float]) -> float:
        now = len(valid) - 1
        return (now - valid.index(min(valid))) / max(now, least)

    return share


def generalization_loss(valid: list[float], _: list[float]) -> float:
    return 100 * (valid[-1] / min(valid) - 1)


def progress_quotient(k: int) -> Score:
    def quotient(valid: list[float], train: list[float]) -> float:
        t = len(valid) - 1
        if t == 0 or t % k:
            return -math.inf
        strip = train[t - k + 1 : t + 1]
        progress = 1000 * (sum(strip) / (k * min(strip)) - 1)
        loss = generalization_loss(valid, train)
        return loss / progress if progress > 0 else math.inf if loss > 0 else 0

    return quotient


def t_test(w: int) -> Score:
    def score(valid: list[float], _: list[float]) -> float:
        if len(valid) <= w:
            return -math.inf
        falls = [valid[i - 1] - valid[i] for i in range(len(valid) - w, len(valid))]
        return -(np.mean(falls) - 1) / (np.std(falls, ddof=1) / math.sqrt(w))

    return score


def power_law(least: int) -> Score:
    def score(valid: list[float], _: list[float]) -> float:
        if len(valid) <= least:
            return -math.inf
        t = np.arange(1, len(valid) + 1)
        y = np.minimum(valid, valid[0])
        found = []
        for c in EXPONENTS:
            design = np.stack([np.ones(len(t)), t**-c], 1)
            a, b = np.linalg.lstsq(design, y, rcond=None)[0]
            a, b = (a, b) if b > 0 else (y.mean(), 0)
            found.append((((y - a - b * t**-c) ** 2).sum(), -b * (t[-1] ** -c - (t[-1] + 1.0) ** -c)))
        return min(found)[1]

    return score


@pytest.mark.parametrize(
    ("rule", "score"),
    [
        (Patience(), patience(0, 0)),
        (Patience(least=3.0), patience(3, 0)),
        (Patience(share=0.01), patience(0, 0.01)),
        (GrowingPatience(7), growing(7)),
        (Budget(), lambda valid, _: len(valid) - 1),
        (Everything(), lambda *_: -math.inf),
        (GeneralizationLoss(), generalization_loss),
        (ProgressQuotient(3), progress_quotient(3)),
        (ProgressQuotient(5), progress_quotient(5)),
        (TTest(2), t_test(2)),
        (TTest(12), t_test(12)),
        (PowerLaw(3), power_law(3)),
    ],
)
def test_a_score_is_that_of_a_loop(rule: CurveRule, score: Score) -> None:
    seen = looks()
    expected = looped(score, seen)
    found = np.where(np.isnan(expected), np.nan, rule.scores(seen))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_later_look_changes_no_earlier_score(rule: CurveRule) -> None:
    assert_sees_no_later_look(rule)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("factor", [2.0**-20, 2.0**20])
def test_losses_and_price_in_another_unit(rule: CurveRule, factor: float) -> None:
    np.testing.assert_array_equal(rule.scores(looks(0.01 * factor, factor)), rule.scores(looks()))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_curve_of_one_training_step_and_one_that_stands_still(rule: CurveRule) -> None:
    for width in (2, 40):
        flat = np.ones((3, width))
        seen = Looks(flat, flat, flat > 2, np.full(3, width - 1), np.full(3, 10))
        found = rule.scores(seen)
        assert found.shape == flat.shape
        assert not np.isnan(found).any()


def test_the_first_look_that_reaches_a_threshold() -> None:
    scores = np.array([[0.0, 1, 2, 3], [3, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 9]])
    assert first_look(scores, 2, np.array([3, 3, 3, 2])).tolist() == [2, 0, 3, 2]


def test_a_rule_is_said() -> None:
    said: list[Any] = [setting.describe() for way in WAYS for setting in way.settings]
    assert all(0 < len(one) < 60 for one in said)
    for way in WAYS:
        assert len({setting.describe() for setting in way.settings}) == len(way.settings), way.name


def test_the_rule_of_the_guide_is_the_t_test() -> None:
    page = (Path(__file__).parents[2] / "docs" / "when-should-i-stop.md").read_text()
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(import numpy.*?)```", page, re.DOTALL)[0], names)
    seen = looks()
    for w, z in ((12, -0.5), (3, 0.0), (20, -1.0)):
        stops = TTest(w).stops(seen, -z)
        for row, length in enumerate(seen.lengths):
            losses = (0.01 * seen.valid[row]).tolist()
            said = [names["should_stop"](losses[: t + 1], 0.01, w, z) for t in range(length + 1)]
            assert stops[row] == (said.index(True) if any(said) else length)
    assert [names["should_stop"]([1.0, last], 0.01, w=1) for last in (0.98, 0.995)] == [False, True]
