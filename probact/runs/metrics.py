"""``metrics.jsonl``: one JSON object a line, each with its checksum; what is no finite number is null there."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from probact.support.checksums import sealed_object, unsealed_object
from probact.support.files import finite_numbers, write_atomically

_MEASURED = ("loss", "grad_norm")
"""What every meta-step has: null means NaN, not that there is none."""


def append(path: Path, record: Mapping[str, Any]) -> None:
    """One line more."""
    with path.open("a") as file:
        file.write(_line(record))


def sync(path: Path) -> None:
    """Come back when what was appended is on the disk."""
    if path.exists():
        with path.open("a") as file:
            os.fsync(file.fileno())


def read(path: Path, needed: Collection[str]) -> list[dict[str, Any]]:
    """The records, of which each has the fields ``needed``; half a line at the end, as a kill leaves it, is left out.

    :raises ValueError: on any other line that is no record; names it.
    """
    if not path.exists():
        return []
    *lines, last = path.read_bytes().split(b"\n")
    lines += [last] if b"}" in last else []
    return [_record(line, f"{path}: line {number}", needed) for number, line in enumerate(lines, 1)]


def cut(path: Path, step: int, needed: Collection[str]) -> None:
    """Drop the records after meta-step ``step``, and half a line at the end.

    :raises ValueError: as ``read`` does.
    """
    if path.exists():
        write_atomically(path, "".join(_line(one) for one in read(path, needed) if one["step"] <= step))


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(sealed_object(finite_numbers(dict(record)))) + "\n"


def _record(line: bytes, where: str, needed: Collection[str]) -> dict[str, Any]:
    try:
        record = json.loads(line.decode())
        if not isinstance(record, dict):
            raise ValueError(f"got {line.decode()[:20]!r}")
        record = unsealed_object(record)
        if wrong := [*_wrong(record, needed)]:
            raise ValueError(f"got no number as {', '.join(wrong)}")
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{where}: expected a record, one JSON object a meta-step ({error}); delete the line to go on without it"
        ) from None
    return {**record, **{name: math.nan for name in _MEASURED if record[name] is None}}


def _wrong(record: Mapping[str, Any], needed: Collection[str]) -> Iterator[str]:
    """Fields that are not there, or are neither a number nor unknown."""
    yield from (name for name in needed if name not in record)
    yield from (name for name, value in record.items() if not isinstance(value, int | float | None))
    if not isinstance(record.get("step", 0), int):
        yield "step"
