"""Ranks that do not add up, and files that are half written, planted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from probact.runs.run import Chain
from probact.support import tensor_files
from probact.support.ranks import Ranks
from tests.helpers.properties import assert_ranks_add_up, assert_survives_a_full_disk
from tests.helpers.trainings import tiny


class Twice(Ranks):
    """The main rank counts twice in the mean."""

    def mean(self, values: Tensor, weight: int, counts: Sequence[int]) -> tuple[Tensor, list[int]]:
        return super().mean(values, weight * (2 if self.is_main else 1), counts)


class Equal(Ranks):
    """Every rank counts the same, however many problems it has."""

    def mean(self, values: Tensor, weight: int, counts: Sequence[int]) -> tuple[Tensor, list[int]]:
        return super().mean(values, 1, counts)


class Overlapping(Ranks):
    """A problem at the seam is two ranks'."""

    def part(self, num: int) -> range:
        part = super().part(num)
        return range(part.start, min(part.stop + 1, num))


class Alone(Ranks):
    """Nothing is exchanged."""

    def mean(self, values: Tensor, weight: int, counts: Sequence[int]) -> tuple[Tensor, list[int]]:
        return values, list(counts)


@pytest.mark.parametrize("faulty", [Twice, Equal, Overlapping, Alone])
def test_ranks_that_do_not_add_up(faulty: type[Ranks]) -> None:
    torch.manual_seed(0)
    with pytest.raises(AssertionError):
        assert_ranks_add_up(faulty)


def in_place(path: Path, content: bytes) -> None:
    """Half of it is in the old file's place when the disk is full."""
    with path.open("wb") as file:
        file.write(content[: len(content) // 2])
        file.flush()
        os.fsync(file.fileno())
        file.write(content[len(content) // 2 :])


def test_a_checkpoint_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain(tiny(), tmp_path)
    assert_survives_a_full_disk(chain)
    monkeypatch.setattr(tensor_files, "write_atomically", in_place)
    with pytest.raises(AssertionError, match="the checkpoint before is lost"):
        assert_survives_a_full_disk(chain)
