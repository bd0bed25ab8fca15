"""Recorded training curves of one data set, in memory and on disk."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from probact.support.checksums import sealed, unsealed
from probact.support.files import write_atomically
from probact.support.words import in_one_line

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
        """Of the validation loss from look 0 to the best look, as a share of the first; NaN where no first one is."""
        first, best = self.valid[:, 0], np.fmin.reduce(self.valid, 1)
        known = np.isfinite(first) & (first != 0)
        return float(np.median(1 - best[known] / first[known])) if known.any() else np.nan

    @property
    def seeds(self) -> list[Any]:
        """Of the runs, each once; curves that others made may have none, or of whatever type."""
        found = {str(setting["seed"]): setting["seed"] for setting in self.settings if "seed" in setting}
        return [found[text] for text in sorted(found, key=lambda text: (len(text), text))]

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
        :raises ValueError: if they are not as described above; nothing is written then.
        """
        buffer = io.BytesIO()
        try:
            self._check()
            settings = json.dumps(self.settings)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: not saved: {in_one_line(error)}") from None
        tables = {name: getattr(self, name) for name in TABLES}
        np.savez_compressed(buffer, name=self.name, settings=settings, **tables)
        write_atomically(path, sealed(buffer.getvalue()))

    @classmethod
    def load(cls, path: Path) -> Self:
        """What ``save`` wrote.

        :raises OSError: if there is no such file.
        :raises ValueError: if it is damaged or is something else.
        """
        data = path.read_bytes()
        try:
            content = unsealed(data)
            if not zipfile.is_zipfile(io.BytesIO(content)):
                raise ValueError("it is no .npz")
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                if missing := [name for name in ("name", *TABLES, "settings") if name not in file]:
                    raise ValueError(f"there is no {missing[0]!r} in it")
                tables = {name: file[name] for name in TABLES}
                found = cls(name=str(file["name"]), settings=json.loads(str(file["settings"])), **tables)
            found._check()
        except Exception as error:  # zipfile, zlib, NumPy and JSON have no common one
            reason = in_one_line(error) or type(error).__name__
            if "allow_pickle" in reason:  # NumPy's advice is not for this
                reason = "it holds Python objects in place of numbers"
            raise ValueError(f"{path}: not a file of training curves, or a damaged one ({reason})") from None
        return found

    def _check(self) -> None:
        """:raises ValueError: naming what does not fit."""
        shape = self.valid.shape if isinstance(self.valid, np.ndarray) else ()
        if len(shape) != 2 or not shape[0]:
            raise ValueError(f"valid: expected float32 (N, K + 1) of a curve or more, got {_said(self.valid)}")
        num, columns = shape
        for name in LOSSES:
            if not _is_table(table := getattr(self, name), shape, np.float32):
                raise ValueError(f"{name}: expected float32 {shape}, got {_said(table)}")
        for name in COUNTS:
            if not _is_table(counts := getattr(self, name), (num,), np.int64) or counts.min() < 1:
                raise ValueError(f"{name}: expected int64 ({num},), at least 1, got {_said(counts)}")
        if self.lengths.max() >= columns:
            raise ValueError(f"lengths: expected {columns - 1} at most, got {self.lengths.max()}")
        settings = self.settings
        if not isinstance(settings, list) or not all(isinstance(setting, dict) for setting in settings):
            raise ValueError("settings: expected a list of dicts, one a curve")
        if len(settings) != num:
            raise ValueError(f"settings: expected {num}, got {len(settings)}")
        within = np.arange(columns) <= self.lengths[:, None]
        for name in ("valid", "test"):
            if not np.array_equal(getattr(self, name) > -np.inf, within):
                raise ValueError(f"{name}: expected a loss or inf at looks 0..lengths and NaN beyond")


def _is_table(value: Any, shape: tuple[int, ...], kind: type[np.generic]) -> bool:
    return isinstance(value, np.ndarray) and value.shape == shape and value.dtype == kind


def _said(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


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
