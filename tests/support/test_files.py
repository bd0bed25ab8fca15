from __future__ import annotations

import io
import stat
from pathlib import Path

import numpy as np
import pytest
import torch

from probact.support import files
from probact.support.files import check_writable, write_atomically
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


def test_a_place_where_no_file_can_be_is_named_and_not_the_file_beside(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    check_writable(tmp_path / "not" / "made" / "yet")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    for does in (check_writable, lambda path: write_atomically(path, "one")):
        with pytest.raises(NotADirectoryError) as error:
            does(tmp_path / "a.txt" / "x.pt")
        assert error.value.filename == str(tmp_path / "a.txt" / "x.pt")


def other_files() -> dict[str, bytes]:
    """What is no file of tensors."""
    files = {"lines": b"root:x:0:0:root:/root:/bin/bash\n" * 9, "words": b"# probact\n\nSome words.\n", "none": b""}
    for name, write in (
        ("arrays", lambda file: np.savez(file, valid=np.zeros(3))),
        ("module", lambda file: torch.save(torch.nn.Linear(1, 1), file)),
    ):
        write(file := io.BytesIO())
        files[name] = file.getvalue()
    return files


@pytest.mark.parametrize("name", ["lines", "words", "none", "arrays", "module"])
def test_another_file_is_said_in_plain_words(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.pt").write_bytes(other_files()[name])
    holds = "it holds something else than tensors, numbers and text"
    reason = holds if name == "module" else "torch.save did not write it"
    with pytest.raises(ValueError, match=rf"x\.pt: not a checkpoint, or a damaged one \({reason}\)$"):
        load_tensors(tmp_path / "x.pt", "checkpoint")


def test_tensors_round_trip(tmp_path: Path) -> None:
    content = {"weights": {"w": torch.randn(3)}, "step": 7, "name": "x"}
    save_tensors(tmp_path / "c.pt", content)
    again = load_tensors(tmp_path / "c.pt", "checkpoint")
    assert torch.equal(again["weights"]["w"], content["weights"]["w"])  # type: ignore[index]
    assert (again["step"], again["name"]) == (7, "x")
    with pytest.raises(FileNotFoundError):
        load_tensors(tmp_path / "none.pt", "checkpoint")
