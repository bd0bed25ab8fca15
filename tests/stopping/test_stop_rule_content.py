from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from probact.stopping.base import STOP_RULES, Known, StopRule
from probact.stopping.rules import Patience, Stochastic


def score_of(rule: StopRule) -> list[float]:
    """Of one step with a rising memory."""
    known = Known(3, *(torch.tensor([value], dtype=torch.float64) for value in (0.4, 0.2, 0.1, 0.3, 0.02)))
    return [*rule.score(known, rule.init(known.loss))[0].tolist(), rule.threshold]


@pytest.mark.parametrize("name", list(STOP_RULES))
def test_every_rule_is_what_its_content_says(name: str) -> None:
    """Every form that tuning may choose, at another threshold than it began with, through JSON text."""
    for form in STOP_RULES[name].candidates():
        rule = form.at(0.375)
        content = json.loads(json.dumps(rule.to_json()))
        again = StopRule.from_json(content)
        assert type(again) is type(rule)
        assert again.to_json() == content
        assert again.describe() == rule.describe()
        assert score_of(again) == score_of(rule)


@pytest.mark.parametrize("name", list(STOP_RULES))
def test_every_rule_is_read_as_it_is_spelled(name: str) -> None:
    for form in STOP_RULES[name].candidates():
        rule = form.at(1.0)
        assert StopRule.read(rule.spelled()).to_json() == rule.to_json()
    assert StopRule.read(name).to_json() == STOP_RULES[name]().to_json()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hazrd=1", "unknown stop rule 'hazrd': choose from budget, gradient"),
        ("patience=soon", "stop rule 'patience': expected a whole number >= 1 as threshold, got 'soon'"),
        ("patience=nan", "expected a whole number >= 1 as threshold, got nan"),
        ("patience=", "expected a whole number >= 1 as threshold, got ''"),
        ("gradient=few", "stop rule 'gradient': expected a number as threshold, got 'few'"),
        ("patience=4,delta=1", "stop rule 'patience' has no option 'delta': choose from epsilon"),
        ("patience=4,epsilon=much", "expected float like 0.05, got 'much'"),
    ],
)
def test_what_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StopRule.read(text)


@pytest.mark.parametrize("name", ["budget", "patience"])
@pytest.mark.parametrize("threshold", [-3, 0, 1.5, math.nan, math.inf, True, "a", [2.0]])
def test_a_count_is_a_whole_number(name: str, threshold: Any) -> None:
    with pytest.raises(ValueError, match=f"stop rule '{name}': expected a whole number >= 1 as threshold, got "):
        STOP_RULES[name](threshold)
    assert STOP_RULES[name](3).threshold == 3


@pytest.mark.parametrize("name", ["hazard", "cumulative"])
@pytest.mark.parametrize("threshold", [-0.1, 7, math.nan, "a"])
def test_a_share_is_from_0_to_1(name: str, threshold: Any) -> None:
    with pytest.raises(ValueError, match=f"stop rule '{name}': expected a number >= 0 and <= 1 as threshold, got "):
        STOP_RULES[name](threshold)
    assert STOP_RULES[name](1).threshold == 1


def test_tuning_may_go_beyond_the_limits() -> None:
    """A patience of 0 stops at once, and is what an exported file may wear."""
    assert StopRule.from_json(Patience().at(0.0).to_json()).threshold == 0


def test_options_are_in_the_content() -> None:
    assert Patience(4.0, epsilon=0.25).to_json() == {
        "name": "patience",
        "threshold": 4.0,
        "epsilon": 0.25,
        "share": 0.0,
    }
    assert Stochastic(seed=3).to_json() == {"name": "stochastic", "threshold": 0.0, "seed": 3}


def test_a_strangers_rule_needs_nothing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(STOP_RULES, "_parts", dict(STOP_RULES._parts))

    @STOP_RULES.register("of-a-stranger")
    class OfAStranger(StopRule):
        """Its constructor takes no threshold."""

        def __init__(self, factor: float = 2.0) -> None:
            super().__init__()
            self.factor = factor

        def score(self, known: Known, memory: Any) -> tuple[Tensor, Any]:
            return self.factor * known.loss, memory

    rule = OfAStranger(factor=3.0).at(0.7)
    assert rule.to_json() == {"name": "of-a-stranger", "threshold": 0.7, "factor": 3.0}
    assert score_of(StopRule.from_json(rule.to_json())) == score_of(rule)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"name": "hazrd", "threshold": 0.1}, "unknown stop rule 'hazrd': choose from budget, .*hazard"),
        ({"name": "hazard", "threshold": 0.1, "epsilon": 1.0}, "stop rule 'hazard' has no option 'epsilon'"),
    ],
)
def test_unknown_names_are_refused(content: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        StopRule.from_json(content)
