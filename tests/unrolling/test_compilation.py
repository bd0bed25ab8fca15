"""Compiled steps are the same steps; tested with torch.compile's tracing and, without fusing, its own derivatives."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch

from probact.rules.base import RULES
from probact.runs.experiment import Experiment
from probact.support import compiling
from probact.unrolling import compilation
from probact.unrolling.rollout import unroll
from probact.unrolling.walk import Unrolling
from tests.helpers.checks import gradients, problems


@pytest.fixture(autouse=True)
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    monkeypatch.setattr(compiling, "failures", [])
    compilation._compile.cache_clear()
    torch._dynamo.reset()
    yield
    compilation._compile.cache_clear()


@pytest.mark.parametrize(
    ("family", "through_path"), [("quadratic", True), pytest.param("digits", False, marks=pytest.mark.slow)]
)
def test_equals_the_plain_unroll(family: str, through_path: bool) -> None:
    """In value and gradient: whole segments, those cut by truncation, and the steps that are left over."""
    rule, optimizee = RULES["lstm"](hidden_size=4), problems(family, 3)
    found = []
    for compiled in (True, False):
        rollout = unroll(rule, optimizee, 10, Unrolling(truncate=4, through_path=through_path, compiled=compiled))
        meta_gradient = gradients(rollout.nll.sum() + rollout.features.sum(), rule)
        found.append((rollout.nll.detach(), rollout.features.detach(), rollout.params, meta_gradient))
    assert not compiling.failures
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_without_a_compiler_one_line_and_the_steps_one_by_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compiling, "BACKEND", "no such backend")
    rule, optimizee = RULES["lstm"](hidden_size=4), problems("quadratic", 3)
    with caplog.at_level(logging.WARNING, "probact"):
        losses = [unroll(rule, optimizee, 9, Unrolling(truncate=4, compiled=True)).nll for _ in range(2)]
    assert len(caplog.messages) == 1
    assert "\n" not in caplog.messages[0]
    for nll in losses:
        torch.testing.assert_close(nll, unroll(rule, optimizee, 9, Unrolling(truncate=4)).nll)


def test_only_where_a_gradient_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "_segment", None)
    with torch.no_grad():
        unroll(RULES["lstm"](), problems("quadratic", 2), 8, Unrolling(compiled=True))
    unroll(RULES["adam"](), problems("quadratic", 2), 8, Unrolling(compiled=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"truncate": 6}, "multiple of 4, got 6"), ({"recompute": True}, "recompute or compiled")],
)
def test_refusals(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Experiment.create(compiled=True, **settings)
    Experiment.create(compiled=True, truncate=0)
