"""Small pictures in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def draw(path: Path, mode: str = "RGB", width: int = 48, height: int = 40, seed: int = 0) -> Path:
    """Smooth waves and noise, of another colour for each seed."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin((rows * a + columns * b) / 9) for a, b in generator.normal(size=(4, 2))]
    values = np.stack(waves, -1) * 60 + 128 + generator.normal(size=(height, width, 4)) * 10
    image = Image.fromarray(values.clip(0, 255).astype(np.uint8), "RGBA" if mode == "RGBA" else None)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.convert(mode).save(path)
    return path


def folder_of(path: Path, num: int = 3) -> Path:
    """A folder of so many."""
    for number in range(num):
        draw(path / f"{number}.png", seed=number)
    return path
