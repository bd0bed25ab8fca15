"""Ship recorded training curves with the package: rewrites ``probact/curves/sample/``, or copies into it.

    python benchmarks/ship_curves.py                 # what is there, losses to five digits
    python benchmarks/ship_curves.py FOLDER NAME...  # files of ``curves make --out FOLDER``, too

A loss is off by at most 2^-16 of itself then; what stands beside it is kept.  The last bits of a loss are no news about
training, and do not compress: the wheel is a tenth smaller without them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from probact.curves import corpus
from probact.curves.corpus import LOSSES, Curves

SAMPLE = Path(corpus.__file__).with_name("sample")
DROPPED = 8
"""Bits at the end of a float32, of the 23 that it keeps of a mantissa."""


def rounded(losses: NDArray[np.float32]) -> NDArray[np.float32]:
    """To the nearest number whose last bits are 0; inf and NaN as they are."""
    bits = np.ascontiguousarray(losses).view(np.uint32)
    nearest = (bits + np.uint32(1 << (DROPPED - 1))) >> np.uint32(DROPPED) << np.uint32(DROPPED)
    return np.where(np.isfinite(losses), nearest.view(np.float32), losses)


def main(paths: list[Path]) -> None:
    for path in paths:
        curves = Curves.load(path)
        curves._replace(**{name: rounded(getattr(curves, name)) for name in LOSSES}).save(SAMPLE / path.name)
        print(f"{path.stem}: {(SAMPLE / path.name).stat().st_size:,} bytes")


if __name__ == "__main__":
    folder, names = sys.argv[1:2], sys.argv[2:]
    main([Path(folder[0]) / f"{name}.npz" for name in names] if folder else sorted(SAMPLE.glob("*.npz")))
