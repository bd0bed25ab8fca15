"""Small image data in the files of MNIST, Fashion-MNIST and CIFAR-10: ten patterns under noise."""

from __future__ import annotations

import gzip
from pathlib import Path

import torch
from torch import Tensor

TRAIN, TEST = 200, 150


def images(num: int, *shape: int, seed: int) -> tuple[Tensor, Tensor]:
    """uint8 ``(num, *shape)`` and their labels 0..9: a pattern a class, the same for every seed, and noise."""
    patterns = torch.rand(10, *shape, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num) % 10
    noise = torch.rand(num, *shape, generator=generator)
    return (255 * (0.6 * patterns[labels] + 0.4 * noise)).byte(), labels


def write(path: Path, content: bytes) -> None:
    """Gzipped if the name says so; makes the folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)


def idx(values: Tensor) -> bytes:
    header = bytes([0, 0, 8, values.dim()]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    return header + values.byte().numpy().tobytes()


def cifar(pixels: Tensor, labels: Tensor) -> bytes:
    return torch.cat([labels.byte().unsqueeze(1), pixels.flatten(1)], 1).numpy().tobytes()


def write_idx_set(folder: Path, suffix: str = ".gz", seed: int = 1) -> None:
    for split, num, offset in (("train", TRAIN, 0), ("t10k", TEST, 100)):
        pixels, labels = images(num, 28, 28, seed=seed + offset)
        write(folder / f"{split}-images-idx3-ubyte{suffix}", idx(pixels))
        write(folder / f"{split}-labels-idx1-ubyte{suffix}", idx(labels))


def write_cifar_set(folder: Path, suffix: str = ".gz") -> None:
    """Two training files, of other sizes than the official ones."""
    pixels, labels = images(TRAIN, 3, 32, 32, seed=3)
    write(folder / f"data_batch_1.bin{suffix}", cifar(pixels[:120], labels[:120]))
    write(folder / f"data_batch_2_first80.bin{suffix}", cifar(pixels[120:], labels[120:]))
    write(folder / f"test_batch.bin{suffix}", cifar(*images(TEST, 3, 32, 32, seed=103)))


def write_all(directory: Path) -> None:
    write_idx_set(directory / "mnist", seed=1)
    write_idx_set(directory / "fashion-mnist", seed=2)
    write_cifar_set(directory / "cifar-10")
