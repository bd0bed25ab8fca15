"""Image files as tensors: idx (MNIST) and the binary version of CIFAR-10, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

CLASSES = 10
CIFAR_SHAPE = (3, 32, 32)
_UNSIGNED_BYTES = 8


def read_idx(path: Path, *shape: int) -> Tensor:
    """Unsigned bytes ``(n, *shape)``, n >= 1.

    idx: bytes 0 0, a type (8: unsigned byte), the number of dimensions; each dimension as a big-endian 32-bit integer;
    then the entries.  http://yann.lecun.com/exdb/mnist/

    :raises ValueError: if the file is anything else.
    """
    content = _content(path)
    magic = (_UNSIGNED_BYTES << 8) + 1 + len(shape)
    found = int.from_bytes(content[:4], "big")
    if found != magic:
        raise ValueError(f"{path}: expected an idx file with magic number {magic}, got {found}")
    start = 4 * (2 + len(shape))
    if len(content) < start:
        raise ValueError(f"{path}: expected a header of {start} bytes, got {len(content)}")
    num, *dims = struct.unpack(f">{1 + len(shape)}I", content[4:start])
    if tuple(dims) != shape or num < 1:
        raise ValueError(f"{path}: expected dimensions {_product('N', *shape)}, got {_product(num, *dims)}")
    if len(content) - start != num * math.prod(shape):
        raise ValueError(f"{path}: expected {num * math.prod(shape)} entries, got {len(content) - start}")
    return torch.frombuffer(content, dtype=torch.uint8, offset=start).reshape(num, *shape)


def read_idx_pair(images: Path, labels: Path, *shape: int) -> tuple[Tensor, Tensor]:
    """uint8 ``(n, 1, *shape)`` and int64 labels ``(n,)``.

    :raises ValueError: if a file is damaged, or the two do not fit.
    """
    pixels, targets = read_idx(images, *shape), read_idx(labels)
    if len(targets) != len(pixels):
        raise ValueError(f"{labels}: expected {len(pixels)} labels, one an image of {images.name}, got {len(targets)}")
    return pixels.unsqueeze(1), _labels(labels, targets)


def read_cifar(path: Path) -> tuple[Tensor, Tensor]:
    """uint8 ``(n, 3, 32, 32)`` and int64 labels ``(n,)``, n >= 1.

    A row is a label and 3,072 pixels: the red plane, then green, then blue.  https://www.cs.toronto.edu/~kriz/cifar.html

    :raises ValueError: if the file is not whole rows, or has a label above 9.
    """
    content, row = _content(path), 1 + math.prod(CIFAR_SHAPE)
    if not content or len(content) % row:
        raise ValueError(f"{path}: expected a multiple of {row} bytes (label and pixels), got {len(content)}")
    rows = torch.frombuffer(content, dtype=torch.uint8).reshape(-1, row)
    return rows[:, 1:].reshape(-1, *CIFAR_SHAPE), _labels(path, rows[:, 0])


def _content(path: Path) -> bytearray:
    if path.suffix != ".gz":
        return bytearray(path.read_bytes())
    try:
        with gzip.open(path) as file:
            return bytearray(file.read())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: expected a whole gzip file, got a damaged one ({error})") from None


def _labels(path: Path, labels: Tensor) -> Tensor:
    if int(labels.max()) >= CLASSES:
        raise ValueError(f"{path}: expected labels 0..{CLASSES - 1}, got {int(labels.max())}")
    return labels.long()


def _product(*sizes: object) -> str:
    return " x ".join(map(str, sizes))
