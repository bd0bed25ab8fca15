"""Compiled steps are those that are not, and where the compiler does not work nothing is lost."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from probact import LearnedOptimizer
from probact.rules import fused as fusing
from probact.rules.base import RULES
from probact.rules.safeguarded import bare
from probact.support import compiling


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    monkeypatch.setattr(compiling, "failures", [])
    fusing._compiled.cache_clear()
    yield monkeypatch
    fusing._compiled.cache_clear()


def walked(steps: int = 19, **options: bool) -> tuple[list[Tensor], LearnedOptimizer]:
    """On minibatches of a small network."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
    optimizer = LearnedOptimizer.from_pretrained(model.parameters(), "general", total_steps=30, **options)
    for _ in range(steps):
        x = torch.randn(8, 4)
        optimizer.zero_grad()
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step(loss)
    return [param.detach() for param in model.parameters()], optimizer


def test_the_path_is_the_same(backend: pytest.MonkeyPatch) -> None:
    compiled, optimizer = walked(compile=True)
    assert not compiling.failures
    assert bare(optimizer.rule).noisy.is_compiled
    for one, other in zip(compiled, walked()[0], strict=True):
        torch.testing.assert_close(one, other)


def test_many_models_of_one_process_are_compiled(backend: pytest.MonkeyPatch) -> None:
    """More than torch has as its limit of forms."""
    torch._dynamo.reset()
    for width in range(1, 13):
        model = nn.Linear(width, 2)
        optimizer = LearnedOptimizer.from_pretrained(model.parameters(), "general", total_steps=20, compile=True)
        for _ in range(5):
            optimizer.zero_grad()
            loss = (model(torch.randn(8, width)) - 1).square().mean()
            loss.backward()
            optimizer.step(loss)
    assert not compiling.failures


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:.torch.jit:DeprecationWarning", r"ignore::FutureWarning:torch\..*"
)  # of torch, of itself
def test_the_path_is_the_same_by_the_compiler_itself(backend: pytest.MonkeyPatch) -> None:
    backend.setattr(compiling, "BACKEND", "inductor")
    fusing._compiled.cache_clear()
    compiled, _ = walked(compile=True)
    assert not compiling.failures
    for one, other in zip(compiled, walked()[0], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_where_the_compiler_does_not_work_one_line_says_so(
    backend: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    backend.setattr(compiling, "BACKEND", "no such backend")
    fusing._compiled.cache_clear()
    with caplog.at_level(logging.WARNING, "probact"):
        compiled, _ = walked(compile=True)
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == ["torch.compile does not work here"]
    for one, other in zip(compiled, walked()[0], strict=True):
        assert torch.equal(one, other)


def test_the_rule_that_was_given_stays_as_it_is() -> None:
    rule = RULES.build("versatile")
    optimizer = LearnedOptimizer(nn.Linear(2, 1).parameters(), rule, compile=True)
    assert not rule.noisy.is_compiled
    for copied in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert bare(copied.rule).noisy.is_compiled


def test_a_rule_with_branches_is_refused() -> None:
    with pytest.raises(ValueError, match=r"compile: expected a rule whose step is one graph.*got rule 'adam'"):
        LearnedOptimizer(nn.Linear(2, 1).parameters(), RULES.build("adam"), compile=True)
