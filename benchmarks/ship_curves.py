"""Ship recorded training curves with the package: rewrites ``probact/curves/sample/``, or copies into it.

    pip install zopfli
    python benchmarks/ship_curves.py                 # what is there, losses to five digits
    python benchmarks/ship_curves.py FOLDER NAME...  # files of ``curves make --out FOLDER``, too

A loss is off by at most 2^-16 of itself then; what stands beside it is kept.  The last bits of a loss are no news about
training, and do not compress: the wheel is a tenth smaller without them.  Files are deflated by zopfli, which takes its
time and saves a twentieth.
"""

from __future__ import annotations

import io
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import zopfli.zlib
from numpy.typing import NDArray

from probact.curves import corpus
from probact.curves.corpus import LOSSES, Curves
from probact.support.checksums import sealed, unsealed
from probact.support.files import write_atomically

SAMPLE = Path(corpus.__file__).with_name("sample")
DROPPED = 8
"""Bits at the end of a float32, of the 23 that it keeps of a mantissa."""


def rounded(losses: NDArray[np.float32]) -> NDArray[np.float32]:
    """To the nearest number whose last bits are 0; inf and NaN as they are."""
    bits = np.ascontiguousarray(losses).view(np.uint32)
    nearest = (bits + np.uint32(1 << (DROPPED - 1))) >> np.uint32(DROPPED) << np.uint32(DROPPED)
    return np.where(np.isfinite(losses), nearest.view(np.float32), losses)


def packed(archive: bytes) -> bytes:
    """The same zip archive, its members deflated by zopfli."""
    members, index, num = io.BytesIO(), io.BytesIO(), 0
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        for entry in file.infolist():
            data, name, offset = file.read(entry), entry.filename.encode(), members.tell()
            deflated = zopfli.zlib.compress(data)[2:-4]  # without zlib's header and checksum
            described = struct.pack("<4H3I2H", 0, 8, 0, 33, entry.CRC, len(deflated), len(data), len(name), 0)
            members.write(struct.pack("<4sH", b"PK\x03\x04", 20) + described + name + deflated)
            place = struct.pack("<3H2I", 0, 0, 0, 0, offset)
            index.write(struct.pack("<4s2H", b"PK\x01\x02", 20, 20) + described + place + name)
            num += 1
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, num, num, index.tell(), members.tell(), 0)
    return members.getvalue() + index.getvalue() + end


def main(paths: list[Path]) -> None:
    for path in paths:
        curves = Curves.load(path)
        out = SAMPLE / path.name
        curves._replace(**{name: rounded(getattr(curves, name)) for name in LOSSES}).save(out)
        write_atomically(out, sealed(packed(unsealed(out.read_bytes()))))
        print(f"{path.stem}: {out.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    folder, names = sys.argv[1:2], sys.argv[2:]
    main([Path(folder[0]) / f"{name}.npz" for name in names] if folder else sorted(SAMPLE.glob("*.npz")))
