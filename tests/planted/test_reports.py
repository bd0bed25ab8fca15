"""Posterior files that speak of something else, planted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import xarray as xr

from probact.inference.belief import infer
from probact.inference.objectives.base import Objective
from probact.judging.problem_sets import held_out_problems
from probact.problems.base import Optimizee
from probact.reports import posterior_tree
from probact.runs.assembly import build_objective
from tests.helpers.properties import assert_tree_is_of
from tests.helpers.trainings import tiny


@pytest.fixture
def chains() -> list[Objective]:
    """Two trainings that halt differently."""
    built = [build_objective(tiny(seed=seed)) for seed in (0, 1)]
    for objective, bias in zip(built, (-2.0, 1.0), strict=True):
        assert objective.posterior is not None
        with torch.no_grad():
            objective.posterior.output.weight.mul_(150.0)
            objective.posterior.output.bias.fill_(bias)
    return built


def problems() -> Optimizee:
    return held_out_problems(tiny())


def tree_of(chains: list[Objective]) -> xr.DataTree:
    return posterior_tree.to_datatree(tiny(), chains, problems(), num_draws=400)


def test_without_a_fault_the_tree_is_of_its_chains(chains: list[Objective]) -> None:
    assert_tree_is_of(tree_of(chains), chains, problems())
    assert_tree_is_of(tree_of(chains[:1]), chains[:1], problems())


def of_others(objective: Objective, optimizee: Optimizee) -> Any:
    return infer(objective, held_out_problems(tiny(), seed=1))


def in_another_order(objective: Objective, optimizee: Optimizee) -> Any:
    return infer(objective, optimizee.select(torch.arange(optimizee.num).flip(0)))


@pytest.mark.parametrize("faulty", [of_others, in_another_order])
def test_tables_of_other_problems(faulty: Any, chains: list[Objective], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posterior_tree, "infer", faulty)
    with pytest.raises(AssertionError):
        assert_tree_is_of(tree_of(chains), chains, problems())


def test_the_first_chain_twice(chains: list[Objective], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posterior_tree, "infer", lambda objective, optimizee: infer(chains[0], optimizee))
    with pytest.raises(AssertionError):
        assert_tree_is_of(tree_of(chains), chains, problems())


def test_draws_of_the_other_chain(chains: list[Objective]) -> None:
    tree = tree_of(chains)
    drawn = tree["posterior"].t.values
    drawn[:] = drawn[::-1].copy()
    with pytest.raises(AssertionError):
        assert_tree_is_of(tree, chains, problems())
