"""Recorded training curves of one data set, in memory and on disk."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from probact.support.checksums import sealed, unsealed
from probact.support.files import write_atomically
from probact.support.refusals import in_one_line

LOSSES = ("train", "valid", "test")
COUNTS = ("lengths", "num_valid")
TABLES = (*LOSSES, *COUNTS)


class Curves(NamedTuple):
    """N training curves of at most K looks after look 0, which is before training.

    A loss is a mean over points, the lower the better.  It is inf where a run has diverged, and NaN after a curve's
    last look.

    :ivar name: the data set.
    :ivar train: float32 ``(N, K + 1)``, mean loss of the minibatches since the look before; NaN at look 0.
    :ivar valid, test: float32 ``(N, K + 1)``, losses on the validation and test data at looks 0..K.
    :ivar lengths: int64 ``(N,)``, looks after look 0.
    :ivar num_valid: int64 ``(N,)``, validation points.
    :ivar settings: of each run: kind of model, optimizer, rate, seed and so on.
    """

    name: str
    train: NDArray[np.float32]
    valid: NDArray[np.float32]
    test: NDArray[np.float32]
    lengths: NDArray[np.int64]
    num_valid: NDArray[np.int64]
    settings: list[dict[str, Any]]

    @property
    def num(self) -> int:
        """N."""
        return len(self.lengths)

    @property
    def diverged(self) -> NDArray[np.bool_]:
        """``(N,)``: whether the loss was no number at the end."""
        return np.isinf(self.valid[np.arange(self.num), self.lengths])

    @property
    def median_fall(self) -> float:
        """Of the validation loss from look 0 to the best look, as a share of the first."""
        return float(np.median(1 - np.nanmin(self.valid, 1) / self.valid[:, 0]))

    def select(self, mask: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Self:
        """The curves that a mask ``(N,)``, indices or a slice choose."""
        chosen = np.arange(self.num)[mask]
        tables: dict[str, Any] = {name: getattr(self, name)[chosen] for name in TABLES}
        return self._replace(settings=[self.settings[index] for index in chosen], **tables)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The curves of all ``parts``, which are of one data set, padded to the longest."""
        longest = max(part.valid.shape[1] for part in parts)
        rows = [[_padded(getattr(part, name), longest) for name in TABLES] for part in parts]
        tables: dict[str, Any] = dict(zip(TABLES, map(np.concatenate, zip(*rows, strict=True)), strict=True))
        return parts[0]._replace(settings=[setting for part in parts for setting in part.settings], **tables)

    def save(self, path: Path) -> None:
        """To ``path``, a compressed ``.npz`` with a checksum; whole or not there.

        :raises OSError: if it cannot be written.
        """
        buffer = io.BytesIO()
        tables = {name: getattr(self, name) for name in TABLES}
        np.savez_compressed(buffer, name=self.name, settings=json.dumps(self.settings), **tables)
        write_atomically(path, sealed(buffer.getvalue()))

    @classmethod
    def load(cls, path: Path) -> Self:
        """What ``save`` wrote.

        :raises OSError: if there is no such file.
        :raises ValueError: if it is damaged or is something else.
        """
        data = path.read_bytes()
        try:
            with np.load(io.BytesIO(unsealed(data)), allow_pickle=False) as file:
                tables = {name: file[name] for name in TABLES}
                found = cls(name=str(file["name"]), settings=json.loads(str(file["settings"])), **tables)
            found._check()
        except Exception as error:  # zipfile, zlib, NumPy and JSON have no common one
            reason = in_one_line(error) or type(error).__name__
            raise ValueError(f"{path}: not a file of training curves, or a damaged one ({reason})") from None
        return found

    def _check(self) -> None:
        """:raises ValueError: naming what does not fit."""
        num, columns = self.valid.shape
        for name in LOSSES:
            table = getattr(self, name)
            if table.shape != (num, columns) or table.dtype != np.float32:
                raise ValueError(f"{name}: expected float32 {(num, columns)}, got {table.dtype} {table.shape}")
        for name in COUNTS:
            counts = getattr(self, name)
            if counts.shape != (num,) or counts.dtype != np.int64 or (num and counts.min() < 1):
                raise ValueError(f"{name}: expected int64 ({num},), at least 1, got {counts.dtype} {counts.shape}")
        if len(self.settings) != num:
            raise ValueError(f"settings: expected {num}, got {len(self.settings)}")
        within = np.arange(columns) <= self.lengths[:, None]
        for name in ("valid", "test"):
            if not np.array_equal(~np.isnan(getattr(self, name)), within):
                raise ValueError(f"{name}: expected a loss at looks 0..lengths and NaN beyond")


def _padded(table: NDArray[Any], columns: int) -> NDArray[Any]:
    """``(N, columns)`` with NaN at the end; counts ``(N,)`` as they are."""
    if table.ndim == 1:
        return table
    return np.pad(table, ((0, 0), (0, columns - table.shape[1])), constant_values=np.nan)


def load_folder(folder: Path) -> Iterator[Curves]:
    """The curves of every file ``NAME.npz`` of a folder, by name.

    :raises ValueError: if there is none, or one is damaged or has another set's name.
    """
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise ValueError(f"{folder}: expected files of training curves, NAME.npz, got none")
    for path in paths:
        curves = Curves.load(path)
        if curves.name != path.stem:
            raise ValueError(f"{path}: expected curves of {path.stem}, got those of {curves.name}")
        yield curves
