"""Trainings that do not go on as they were, planted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from probact.runs.run import Chain
from probact.training.meta_training import MetaTraining
from tests.helpers.properties import assert_resumes_bit_for_bit
from tests.helpers.trainings import tiny


def test_a_lost_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step is counted, its update is not in the file."""
    assert_resumes_bit_for_bit(tiny(), tmp_path / "sound")
    load = MetaTraining.load_state_dict
    monkeypatch.setattr(
        MetaTraining, "load_state_dict", lambda self, state: load(self, {**state, "step": state["step"] + 1})
    )
    with pytest.raises(AssertionError):
        assert_resumes_bit_for_bit(tiny(), tmp_path / "faulty")


@pytest.mark.parametrize("forgotten", ["optimizer", "best_weights"])
def test_a_forgotten_part(forgotten: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam's moments, or the weights that validated best, are those of an untrained run."""
    save = Chain.save

    def forgetful(self: Chain, state: dict[str, Any]) -> None:
        save(self, {**state, forgotten: MetaTraining(self.experiment).state_dict()[forgotten]})

    monkeypatch.setattr(Chain, "save", forgetful)
    with pytest.raises(AssertionError):
        assert_resumes_bit_for_bit(tiny(), tmp_path / "faulty")


def test_random_numbers_that_go_on_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resumed, one batch comes again and again."""
    load = MetaTraining.load_state_dict

    def restarts(self: Any, state: dict[str, Any]) -> None:
        load(self, state)
        sample = self._sample
        self._sample = lambda family, num, random, *rest: sample(family, num, random.manual_seed(0), *rest)

    monkeypatch.setattr(MetaTraining, "load_state_dict", restarts)
    with pytest.raises(AssertionError):
        assert_resumes_bit_for_bit(tiny(), tmp_path / "faulty")
