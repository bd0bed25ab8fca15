from __future__ import annotations

import stat
from pathlib import Path

import pytest
import torch

from probact.support import files
from probact.support.files import write_atomically
from probact.support.tensor_files import load_tensors, save_tensors


def test_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "one")
    write_atomically(path, b"two")
    assert path.read_text() == "two"
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "plain").write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_failure_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*/a\.txt'"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_tensors_round_trip(tmp_path: Path) -> None:
    content = {"weights": {"w": torch.randn(3)}, "step": 7, "name": "x"}
    save_tensors(tmp_path / "c.pt", content)
    again = load_tensors(tmp_path / "c.pt", "checkpoint")
    assert torch.equal(again["weights"]["w"], content["weights"]["w"])  # type: ignore[index]
    assert (again["step"], again["name"]) == (7, "x")
    with pytest.raises(FileNotFoundError):
        load_tensors(tmp_path / "none.pt", "checkpoint")
