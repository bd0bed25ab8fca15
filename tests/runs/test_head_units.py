"""How wide the network is that halting is read from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from probact.runs.assembly import build_objective, start_from
from probact.runs.experiment import Experiment
from probact.runs.trained import TrainedOptimizer
from tests.helpers.trainings import same, tiny


@pytest.mark.parametrize("units", [1, 8, 32])
def test_it_is_as_wide_as_asked_and_a_file_knows(units: int, tmp_path: Path) -> None:
    experiment = tiny(head_units=units)
    built = build_objective(experiment)
    head = built.posterior
    assert head is not None
    assert head.memory.hidden_size == units
    one = TrainedOptimizer(built.rule, {}, head, experiment.prior_nu, experiment.horizon)
    one.save(tmp_path / "one.pt")
    read = TrainedOptimizer.load(tmp_path / "one.pt").posterior
    assert read is not None
    assert same(read.state_dict(), head.state_dict())
    features = torch.randn(5, 3, head.memory.input_size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(read(features).logits, head(features).logits)


def test_a_head_of_another_width_is_not_taken_over() -> None:
    wide, narrow = (build_objective(tiny(head_units=units, seed=units)) for units in (32, 8))
    before = {name: weight.clone() for name, weight in narrow.posterior.state_dict().items()}  # type: ignore[union-attr]
    source = TrainedOptimizer(wide.rule, {}, wide.posterior, 0.95, 6)
    start_from(narrow, source, tiny(head_units=8))
    assert same(narrow.posterior.state_dict(), before)  # type: ignore[union-attr]
    assert same(narrow.rule.state_dict(), wide.rule.state_dict())


def test_no_units_are_refused() -> None:
    with pytest.raises(ValueError, match="head_units: expected"):
        Experiment.create(head_units=0)
