"""Pictures: read from files and packages, cut and made smaller."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from probact.problems.data.sets import load
from probact.support.extras import needed
from probact.support.files import expanded

_FILES = {
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    **{name: ("skimage", f"data/{name}.png") for name in ("astronaut", "brick", "chelsea", "coffee")},
    **{name: ("skimage", f"data/{name}.png") for name in ("grass", "gravel")},
    "rocket": ("skimage", "data/rocket.jpg"),
}
"""Name of a picture -> the package that it comes with, and its place there."""
PHOTOS = "photos"
GROUPS = {PHOTOS: ("astronaut", "chelsea", "china", "coffee", "rocket")}
CIFAR = "cifar10"
"""Its images, two pixels wide for each of theirs."""
NAMES = (*_FILES, *GROUPS, CIFAR)
_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
_SMALLEST = 32


class Picture(NamedTuple):
    """``pixels (3, height, width)`` in [0, 1], and what was ``changed`` to have three colours; empty: nothing."""

    pixels: Tensor
    changed: str = ""


def read_image(path: Path) -> Picture:
    """A file that Pillow reads; of several pages the first.

    :raises ValueError: if it is no image, or a side is shorter than 32 pixels.
    :raises OSError: if there is no such file.
    """
    with needed():
        from PIL import Image, ImageOps, UnidentifiedImageError
    if path.is_dir():
        raise ValueError(f"{path}: expected an image, got a folder")
    try:
        with Image.open(path) as image:
            mode, size = image.mode, image.size
            if min(size) < _SMALLEST:
                raise ValueError(f"{path}: expected sides of at least {_SMALLEST} pixels, got {size[0]} x {size[1]}")
            upright = ImageOps.exif_transpose(image)
            if mode in ("I", "F") or mode.startswith("I;"):
                return Picture(_of_levels(np.array(upright)), "grey: made three equal colours")
            has_alpha = "A" in image.getbands() or "transparency" in image.info
            rgb = upright.convert("RGBA" if has_alpha else "RGB")
    except FileNotFoundError:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise ValueError(f"{path}: expected an image, got a file that is none, or a damaged one ({error})") from None
    array = torch.from_numpy(np.array(rgb, dtype=np.float32) / 255).permute(2, 0, 1)
    if has_alpha:
        array = array[:3] * array[3:] + 1 - array[3:]
        return Picture(array.contiguous(), "alpha: put on white")
    return Picture(array.contiguous(), "grey: made three equal colours" if mode in ("1", "L") else "")


def _of_levels(levels: np.ndarray) -> Tensor:
    """Of numbers ``(height, width)`` of another range than 0..255: from 0 to 1, else to 255, else to 65,535.

    :raises ValueError: if they are of none of these.
    """
    top = next((top for top in (1.0, 255.0, 65535.0) if levels.max(initial=0) <= top), None)
    if top is None or not np.isfinite(levels).all() or levels.min(initial=0) < 0:
        raise ValueError(f"expected pixels in 0..65535, got {levels.min():g} to {levels.max():g}")
    if levels.dtype.kind == "u" or (levels.dtype.kind == "i" and top == 1.0):
        top = 65535.0  # 16 bits, however dark
    grey = torch.from_numpy((levels / top).astype(np.float32))
    return grey.expand(3, -1, -1).contiguous()


@cache
def _of_package(name: str) -> Picture:
    package, place = _FILES[name]
    found = find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed", name=package)
    return read_image(Path(found.origin).parent / place)


def picture(source: str) -> Picture:
    """One that a package brings, by its name, or a file.

    :raises ValueError: if it is no image, or a side is shorter than 32 pixels.
    :raises OSError: if there is no such file.
    """
    if source in _FILES:
        with needed():
            return _of_package(source)
    return read_image(expanded(source))


def pictures(source: str) -> list[Tensor]:
    """Those that ``source`` names, each ``(3, height, width)``: one of ``NAMES`` but CIFAR-10, a file, or a folder.

    :raises ValueError: if it is none of these.
    """
    if source in GROUPS:
        return [picture(name).pixels for name in GROUPS[source]]
    if source in _FILES:
        return [picture(source).pixels]
    path = expanded(source)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in _ENDINGS)
        if not files:
            raise ValueError(f"{path}: expected a folder of images ({', '.join(sorted(_ENDINGS))}), got none there")
        return [read_image(file).pixels for file in files]
    if not path.exists():
        raise ValueError(f"picture {source!r}: expected a file, a folder or one of {', '.join(NAMES)}, got none there")
    return [read_image(path).pixels]


def of_cifar(held_out: bool) -> Tensor:
    """All of its training or test images, uint8 ``(n, 3, 32, 32)``."""
    train, test = load(CIFAR)
    return test[0] if held_out else train[0]


def parted(found: Sequence[Tensor], held_out: bool) -> list[Tensor]:
    """The pictures of training, or those held out, which share no pixel.

    Of three or more pictures every third is held out; of fewer the right two fifths of each.
    """
    if len(found) >= 3:
        return [one for number, one in enumerate(found) if (number % 3 == 2) == held_out]
    cuts = [round(0.6 * one.shape[2]) for one in found]
    return [one[..., cut:] if held_out else one[..., :cut] for one, cut in zip(found, cuts, strict=True)]


def crop(whole: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A square of ``whole (3, height, width)`` in ``side`` x ``side`` pixels, perhaps mirrored.

    Its own side is log-uniform from ``side`` to the picture's shorter one; a smaller picture is made larger.
    """
    shorter = min(whole.shape[1:])
    shares = torch.rand(4, generator=generator).tolist()
    width = round(side * math.exp(shares[0] * math.log(shorter / side))) if shorter > side else shorter
    top, left = (int(share * (size - width + 1)) for share, size in zip(shares[1:3], whole.shape[1:], strict=True))
    square = whole[:, top : top + width, left : left + width]
    return resized(square.flip(2) if shares[3] < 0.5 else square, side, side)


def resized(whole: Tensor, height: int, width: int) -> Tensor:
    """In ``height`` x ``width`` pixels, bilinear and averaged over what each covers."""
    if whole.shape[1:] == (height, width):
        return whole
    return F.interpolate(whole[None], (height, width), mode="bilinear", antialias=True)[0].clamp(0, 1)


def fitted(whole: Tensor, side: int) -> Tensor:
    """With a shorter side of ``side`` pixels, and the longer one in proportion, rounded to a multiple of 8."""
    height, width = whole.shape[1:]
    sizes = (max(side, 8 * round(size * side / min(height, width) / 8)) for size in (height, width))
    return resized(whole, *sizes)
