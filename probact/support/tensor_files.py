"""Tensors on disk: whole or not there, with a checksum, and read without running code."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from probact.support.checksums import sealed, unsealed
from probact.support.files import write_atomically


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """``content`` (tensors, strings, numbers, nested) to ``path``, atomically."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, sealed(buffer.getvalue()))


def load_tensors(path: Path, what: str) -> dict[str, Any]:
    """What ``save_tensors`` wrote; never runs code from the file.

    :param what: the kind of file, for the message.
    :raises ValueError: if the file is damaged or is something else.
    """
    data = path.read_bytes()
    try:
        content = _loaded(unsealed(data))
    except Exception as error:  # torch.load has no common error for damaged files
        reason = str(error).partition("\n")[0][:80] or type(error).__name__
        raise ValueError(f"{path}: not a {what}, or a damaged one ({reason})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a {what}, got a {type(content).__name__}")
    return content


def _loaded(data: bytes) -> Any:
    """:raises ValueError: in plain words, where torch gives advice that is of no use for this file."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise ValueError("torch.save did not write it")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if not any(name.endswith("data.pkl") for name in archive.namelist()):
            raise ValueError("torch.save did not write it")
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError("it holds something else than tensors, numbers and text") from None
