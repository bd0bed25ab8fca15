"""What a black-box optimizer refuses, in one line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from probact.searching.optimizer import BlackBoxOptimizer
from tests.helpers.searches import walker


@pytest.mark.parametrize("value", ["2", None, [1.0, 2.0], np.ones(2), torch.ones(2), 1j])
def test_what_is_no_number_is_refused(value: Any) -> None:
    optimizer = walker()
    optimizer.ask()
    with pytest.raises(ValueError, match="tell: expected a number"):
        optimizer.tell(value)
    assert optimizer.num_queries == 0


def test_telling_without_asking_is_refused() -> None:
    optimizer = walker()
    with pytest.raises(ValueError, match=r"tell: expected a point by ask\(\) before, .* that was not asked for"):
        optimizer.tell(1.0)
    with pytest.raises(ValueError, match="best: expected a finite value before, got none"):
        _ = optimizer.best
    optimizer.ask()
    optimizer.tell(1.0)
    with pytest.raises(ValueError, match="that was told already"):
        optimizer.tell(1.0)
    assert optimizer.num_queries == 1


@pytest.mark.parametrize(
    ("rule", "options", "said"),
    [
        ("adam", {}, "expected a rule that sees its loss alone, got rule 'adam': it sees its loss and gradient"),
        ("nothing", {}, "unknown rule 'nothing'"),
        (3, {}, "rule: expected a search such as 'gp-ei', got int"),
        ("gp-ei", {"price": 0}, "expected price > 0"),
        ("gp-ei", {"price": math.nan}, "expected price > 0"),
        ("gp-ei", {"price": ".1"}, "expected price > 0, got '.1'"),
        ("gp-ei", {"price": True}, "expected price > 0, got True"),
        ("gp-ei", {"minimum": 0}, "expected minimum >= 1"),
        ("gp-ei", {"scale": (0, 0)}, "expected spread > 0"),
        ("gp-ei", {"stop": "hazard"}, "stop rule 'hazard': expected a halting posterior to read"),
        ("gp-ei", {"stop": "gradient"}, "stop rule 'gradient': expected a gradient to read"),
        ("gp-ei", {"stop": "sometime"}, "stop: expected NAME or NAME=THRESHOLD"),
        ("gp-ei", {"stop": 3}, "stop: expected a stop rule"),
        ("gp-ei", {"stop": None, "price": 1.0}, "price: expected a stop that weighs it, got stop=None"),
        ("gp-ei", {"stop": "budget=5", "price": 1.0}, "price: expected a stop that weighs it"),
        ("random-search", {}, "rule 'random-search' neither has a halting posterior nor says what it expects"),
        ("lstm-search", {"bounds": [(0, 1)] * 3}, "expected functions of dim 1 variables, got 3"),
        ("gp-ei", {"bounds": [(1, 0)]}, "low < high"),
    ],
)
def test_bad_input_is_refused_in_one_line(rule: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        BlackBoxOptimizer(rule, **{"bounds": [(0, 1)], **options})
    assert "\n" not in str(caught.value)
